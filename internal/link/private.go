package link

import (
	"crypto/tls"
	"fmt"
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/authority"
)

// Private secures links within one process: by an authority in its memory, which issues
// a certificate to each part, and is known to nobody else. So whoever else is on the
// machine cannot get between the parts.
type Private struct {
	authority *authority.Authority
	made      time.Time
}

// longLived is longer than any process runs.
const longLived = 100 * 365 * 24 * time.Hour

// NewPrivate makes the authority.
func NewPrivate() (*Private, error) {
	a, err := authority.New("in this process", longLived)
	if err != nil {
		return nil, fmt.Errorf("link: %w", err)
	}
	return &Private{authority: a, made: time.Now()}, nil
}

// Trust is that of a part that has a role, towards one that has another.
func (p *Private) Trust(own, peer access.Role) (Trust, error) {
	pair, err := p.authority.Issue(authority.Request{Names: []string{privateName(own)}})
	if err != nil {
		return Trust{}, fmt.Errorf("link: %w", err)
	}
	certificate, err := pair.TLS()
	if err != nil {
		return Trust{}, fmt.Errorf("link: %w", err)
	}
	c := &tls.Config{
		MinVersion: minVersion, Certificates: []tls.Certificate{certificate},
		RootCAs: p.authority.Pool(), ClientCAs: p.authority.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
		Time: func() time.Time { return p.made }, // Whatever becomes of the machine's clock.
	}
	return Trust{TLS: func() *tls.Config { return c }, Roles: privateRoles{}, Peer: peer}, nil
}

// Within says whether it is that of parts of one process, whose names mean nothing
// elsewhere.
func (t Trust) Within() bool {
	_, private := t.Roles.(privateRoles)
	return private
}

func privateName(r access.Role) string { return "spiffe://in-this-process/" + string(r) }

// privateRoles are those of Private's certificates.
type privateRoles struct{}

// HasRoles implements [Roles].
func (privateRoles) HasRoles(access.Role) bool { return true }

// CheckRole implements [Roles].
func (privateRoles) CheckRole(r access.Role, names []string) error {
	if !slices.Contains(names, privateName(r)) {
		return fmt.Errorf("it is no %s of this process", r)
	}
	return nil
}
