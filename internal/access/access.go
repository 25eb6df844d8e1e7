// Package access is the access file: which certificates belong to which part, and who may
// read and write what.
//
// Guaranteed: a file that cannot be read, or that is wrong in any part, changes nothing:
// the last good one stays in use. What is written to the file, or to a file that it names,
// is in use after twice [settled] at most, or after [longestPause] where it names very many
// files. A token is only ever compared by its hash, and neither it nor its hash is in an
// error or in the log.
//
// Not guaranteed: that a file which is written in several pieces, with pauses between
// them, is not taken halfway. Rename a complete one into its place.
package access

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"

	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/identity"
)

// Flag names the file.
const Flag = "--access.file"

// Role is what a part is, as its certificate shows.
type Role string

// The roles. A proxy may say who is calling, and stands for no caller itself. A server is
// also what is an upstream of relays.
const (
	Receiver  Role = "receiver"
	Forwarder Role = "forwarder"
	Server    Role = "server"
	Proxy     Role = "proxy"
)

// Open reads the access file for a program that lets nobody read. It is nil for "": no
// roles and no policies.
func Open(path string, logger *slog.Logger) (*File, error) {
	return OpenFor(path, logger, func(*Policy) (any, error) { return nil, nil })
}

// OpenFor is Open for a program that has something for each policy that may read, which
// is then in [Policy]. An error, as of a wrong selector, makes the file a wrong one.
func OpenFor(path string, logger *slog.Logger, prepare func(*Policy) (any, error)) (*File, error) {
	if path == "" {
		return nil, nil
	}
	return open(path, logger, prepare)
}

// HasRoles says whether the file names anybody for a role.
func (f *File) HasRoles(r Role) bool { return f != nil && len(f.now().roles[r]) > 0 }

// CheckRole returns an error unless a certificate with these names has a role, or the
// file names nobody for it.
func (f *File) CheckRole(r Role, names []string) error {
	if f == nil {
		return nil
	}
	patterns := f.now().roles[r]
	switch {
	case len(patterns) == 0 || patterns.Match(names):
		return nil
	case len(names) == 0:
		return fmt.Errorf("it has no verified certificate, and %s says which ones a %s has", Flag, r)
	}
	return fmt.Errorf("its certificate is for %s, which %s does not name as a %s", identity.Quote(names), Flag, r)
}

// IsProxy says whether a certificate with these names is a proxy's.
func (f *File) IsProxy(names []string) bool { return f != nil && f.now().roles[Proxy].Match(names) }

// HasPolicies says whether the file has policies. If it has none, whoever the listener
// lets in may do everything.
func (f *File) HasPolicies() bool { return f != nil && len(f.now().policies) > 0 }

// HasTenants says whether any policy writes as a tenant.
func (f *File) HasTenants() bool {
	return f != nil && slices.ContainsFunc(f.now().policies, func(p *Policy) bool { return p.Write != nil && p.Write.Tenant != "" })
}

// Policy returns the policy of a caller, nil if there are no policies. Its error is a
// *[Denied].
//
// A bearer token counts before a user, and a user before a certificate. What a caller
// has to show it is never passed over for another: a wrong token is refused, though the
// certificate may be right. Where the file names servers, their certificates may read
// logs and status, whatever else is said of them: servers complete one another's logs.
func (f *File) Policy(id identity.Identity) (*Policy, error) {
	if f == nil {
		return nil, nil
	}
	return f.now().policy(id)
}

func (s *state) policy(id identity.Identity) (*Policy, error) {
	if len(s.policies) == 0 {
		return nil, nil
	}
	switch {
	case id.Unproved:
		return nil, &Denied{true, unknownScheme, "the Authorization is none that is asked for here: send a bearer token, or a password where there are users"}
	case id.Token != "":
		if p := s.tokens[sha256.Sum256([]byte(id.Token))]; p != nil {
			return p, nil
		}
		return nil, &Denied{true, unknownToken, "the bearer token is none that a policy has; it may have been replaced by another"}
	case id.User != "":
		if p := s.users[id.User]; p != nil {
			return p, nil
		}
		return nil, &Denied{false, unknownUser, fmt.Sprintf("user %s has no policy; it has to be among the users of one in %s", id.User, Flag)}
	case s.servers != nil && s.roles[Server].Match(id.Names):
		return s.servers, nil
	case len(id.Names) > 0 && !s.roles[Proxy].Match(id.Names):
		for _, c := range s.certificates {
			if c.names.Match(id.Names) {
				return c.policy, nil
			}
		}
		return nil, &Denied{false, unknownCertificate, fmt.Sprintf("the client certificate, for %s, has no policy; it has to be among the certificates of one in %s", identity.Quote(id.Names), Flag)}
	case s.anonymous != nil:
		return s.anonymous, nil
	}
	return nil, &Denied{true, noCredential, "a credential is needed: send a bearer token (Authorization: Bearer TOKEN), the password of a user, or a client certificate"}
}

// Keys returns the keys of cursors. The first seals, all open.
func (f *File) Keys() []cursor.Key {
	if f == nil {
		return nil
	}
	return f.now().keys
}

// Reasons are all that a [Denied] may have.
var Reasons = []string{noCredential, unknownScheme, unknownToken, unknownUser, unknownCertificate, noRight}

const (
	noCredential       = "no_credential"
	unknownScheme      = "unknown_scheme"
	unknownToken       = "unknown_token"
	unknownUser        = "unknown_user"
	unknownCertificate = "unknown_certificate"
	noRight            = "no_right"
)

// Denied is why a caller is refused.
type Denied struct {
	// Unauthenticated says that another credential may help. Otherwise it is known who
	// calls.
	Unauthenticated bool
	// Reason is one of [Reasons], to count by.
	Reason  string
	message string
}

// Error implements error. It says what to do, and nothing of other callers.
func (d *Denied) Error() string { return d.message }
