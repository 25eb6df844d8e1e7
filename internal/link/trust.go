package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/identity"
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

// minVersion holds on links whatever a file says that is lower: both ends are ours.
const minVersion = tls.VersionTLS13

func (t Trust) byRole() bool { return t.Roles != nil && t.Roles.HasRoles(t.Peer) }

// checkListener refuses what no peer could get through. The flags name what is to be
// changed.
func (t Trust) checkListener() error {
	switch {
	case t.TLS == nil && t.byRole(), t.TLS != nil && t.byRole() && t.TLS().ClientAuth < tls.VerifyClientCertIfGiven:
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
	if t.TLS == nil && t.byRole() {
		return usage.Errorf("%s says which certificates a %s has, so %s-ca-file has to say by which authority",
			access.Flag, t.Peer, flags)
	}
	return nil
}

// listening is the configuration for one connection that comes in. A session is never
// resumed: each connection shows its certificate, and is let in by what holds then.
func (t Trust) listening() *tls.Config {
	c := t.TLS().Clone()
	c.MinVersion, c.SessionTicketsDisabled = minVersion, true
	return c
}

// Dialling is the configuration for one connection to address, of another protocol than
// this one: a handshake with a side that has not the role fails.
func (t Trust) Dialling(address string) *tls.Config {
	return t.dialling(address, func(chains [][]*x509.Certificate) error {
		return t.Roles.CheckRole(t.Peer, identity.NamesOf(&tls.ConnectionState{VerifiedChains: chains}))
	})
}

// dialling is the configuration for one connection to address. Where a role is asked
// for, that takes the place of the host's name, by which nobody may be found: discovery
// gives addresses. The authority has to be right all the same, and so has a name that was
// configured. The chains, which Go does not note then, go to verified.
func (t Trust) dialling(address string, verified func(chains [][]*x509.Certificate) error) *tls.Config {
	c := t.TLS().Clone()
	c.MinVersion = minVersion
	configured := c.ServerName
	if configured == "" {
		c.ServerName, _, _ = net.SplitHostPort(address)
	}
	if t.byRole() {
		c.InsecureSkipVerify = true // VerifyConnection does it.
		c.VerifyConnection = func(state tls.ConnectionState) error {
			chains, err := verify(c, state.PeerCertificates, configured)
			if err != nil {
				return err
			}
			return verified(chains)
		}
	}
	return c
}

// verify does what Go does, for a name or for none.
func verify(c *tls.Config, certs []*x509.Certificate, name string) ([][]*x509.Certificate, error) {
	o := x509.VerifyOptions{Roots: c.RootCAs, DNSName: name, Intermediates: x509.NewCertPool()}
	if c.Time != nil {
		o.CurrentTime = c.Time()
	}
	for _, cert := range certs[1:] {
		o.Intermediates.AddCert(cert)
	}
	chains, err := certs[0].Verify(o)
	if err != nil {
		return nil, &tls.CertificateVerificationError{UnverifiedCertificates: certs, Err: err}
	}
	return chains, nil
}

// expiry is when none of the chains holds any more, zero of none.
func expiry(chains [][]*x509.Certificate) (last time.Time) {
	for _, chain := range chains {
		first := chain[0].NotAfter
		for _, cert := range chain[1:] {
			if cert.NotAfter.Before(first) {
				first = cert.NotAfter
			}
		}
		if first.After(last) {
			last = first
		}
	}
	return last
}

// secure has TLS shake hands, if there is TLS, and looks at who is there.
func (c *Conn) secure(ctx context.Context) error {
	t, ok := c.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	state := t.ConnectionState()
	if len(c.chains) > 0 {
		state.VerifiedChains = c.chains
	}
	c.identity = identity.Identity{Names: identity.NamesOf(&state)}
	c.expiry = expiry(state.VerifiedChains)
	return nil
}

// checkPeer says why the peer may not be there, nil if it may. That may change while the
// connection lasts.
func (c *Conn) checkPeer() *frameError {
	side := "dialled"
	if c.dialled {
		side = "listens"
	}
	if t := c.o.Trust; t.Roles != nil {
		if err := t.Roles.CheckRole(t.Peer, c.identity.Names); err != nil {
			return &frameError{Reason: reasonRole, Err: fmt.Errorf("the side that %s is refused: %w", side, err)}
		}
	}
	if !c.expiry.IsZero() && time.Now().After(c.expiry) {
		return &frameError{Reason: reasonExpired, Err: fmt.Errorf("the side that %s is refused: its certificate ended at %s", side, c.expiry.Format(time.RFC3339))}
	}
	return nil
}

// expel ends the connection of a peer that may not be there any more. Whoever closes it
// when Receive returns waits a moment until the peer knows why.
func (c *Conn) expel(why *frameError) {
	told := make(chan struct{})
	defer close(told)
	c.expelled.Store(&told)
	c.stop(c.reject(why))
	_ = c.sayGoodbye(why.Err.Error())
}
