package link

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"

	"github.com/promgrpc/exporter/internal/identity"
)

// minVersion holds on links whatever a file says that is lower: both ends are ours.
const minVersion = tls.VersionTLS13

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
	if t.ByRole() {
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
