package link

import (
	"crypto/tls"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/internal/webconfig"
)

// Trust is how one side secures its links, and whom it lets be at the other end.
type Trust struct {
	// TLS returns the configuration for the next connection. Nil: cleartext.
	TLS func() *tls.Config
	// Roles says which names in certificates have a role. Nil: none is asked for.
	Roles Roles
	// Peer is the role that the other side has to have, if Roles names any for it.
	Peer access.Role
}

// Roles says which names in certificates have a role. A nil [access.File] does, too.
type Roles interface {
	HasRoles(access.Role) bool
	CheckRole(role access.Role, names []string) error
}

// FlagConfigFile of the programs that listen says how.
const FlagConfigFile = "--link.config.file"

// RegisterConfigFile adds the flag.
func RegisterConfigFile(app *kingpin.Application, file *string) {
	app.Flag(FlagConfigFile[2:], "Web configuration file with the TLS of the link listener; nothing else may be in it. Links use TLS 1.3, whatever version it allows.").
		PlaceHolder("FILE").StringVar(file)
}

// Listening is the trust of a listener that has such a file, nil if none, towards those
// who dial it.
func Listening(file *webconfig.Config, roles Roles, peer access.Role) Trust {
	t := Trust{Roles: roles, Peer: peer}
	if file.SecuresTLS() {
		t.TLS = file.TLS
	}
	return t
}

// ByRole says whether the other side has to have a role.
func (t Trust) ByRole() bool { return t.Roles != nil && t.Roles.HasRoles(t.Peer) }

// checkListener refuses what no peer could get through. The flags name what is to be
// changed.
func (t Trust) checkListener() error {
	switch {
	case t.TLS == nil && t.ByRole(), t.TLS != nil && t.ByRole() && t.TLS().ClientAuth < tls.VerifyClientCertIfGiven:
		return usage.Errorf("%s says which certificates a %s has, so %s has to ask for them: it needs client_ca_file and client_auth_type: RequireAndVerifyClientCert",
			access.Flag, t.Peer, FlagConfigFile)
	case t.TLS != nil && t.TLS().MaxVersion != 0 && t.TLS().MaxVersion < minVersion:
		return usage.Errorf("%s: links use TLS 1.3, which max_version excludes", FlagConfigFile)
	}
	return nil
}

// CheckDialer refuses a side that dials and could prove nothing. The flags begin with
// what dials its servers, such as "--server.tls".
func (t Trust) CheckDialer(flags string) error {
	if t.TLS == nil && t.ByRole() {
		return usage.Errorf("%s says which certificates a %s has, so %s-ca-file has to say by which authority",
			access.Flag, t.Peer, flags)
	}
	return nil
}
