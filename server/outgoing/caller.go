// Package outgoing is how a server calls other servers: over TLS or in the clear, and as
// whom.
//
// Guaranteed: a credential is read again for each call, and is sent over TLS alone, unless
// a flag allows more; over TLS nobody is called who has not the role of a server, if roles
// name any.
package outgoing

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/renew"
)

// looks is how often a caller that was refused looks whether its credential was renewed.
const looks = time.Second

// Caller calls servers.
type Caller struct {
	flags credential.Flags
	tls   *renew.TLS             // nil for none
	trust link.Trust             // over it
	sent  atomic.Pointer[string] // the last credential
}

// New returns one that calls as flags say, and nobody but servers, if roles name any.
func New(flags credential.Flags, roles link.Roles, logger *slog.Logger) (*Caller, error) {
	if err := flags.Check(); err != nil {
		return nil, err
	}
	tls, err := flags.Dialer(logger)
	if err != nil {
		return nil, err
	}
	trust := link.Trust{TLS: tls.Getter(), Roles: roles, Peer: access.Server}
	if err := trust.CheckDialer(flags.Name("tls")); err != nil {
		return nil, err
	}
	return &Caller{flags: flags, tls: tls, trust: trust}, nil
}

// Encrypted says whether calls go over TLS.
func (c *Caller) Encrypted() bool { return c.tls != nil }

// ByRole says whether certificates have to show that who is called is a server.
func (c *Caller) ByRole() bool { return c.trust.ByRole() }

// TLS is that of a connection to an address, as the files say now.
func (c *Caller) TLS(address string) *tls.Config { return c.trust.Dialling(address) }

// Again reads the files of the connections again, nil if there are none.
func (c *Caller) Again() func() error { return c.tls.Again() }

// Flag is a flag as it is given.
func (c *Caller) Flag(name string) string { return c.flags.Name(name) }

// Authorization returns the credential for a call of a server, "" for none.
func (c *Caller) Authorization(address string) (string, error) {
	if err := c.mayCall(address); err != nil {
		return "", err
	}
	value, err := c.flags.Authorization()
	if err != nil {
		return "", fmt.Errorf("credential: %w", err)
	}
	c.sent.Store(&value)
	return value, nil
}

// MayCallAll is mayCall for what a flag names, as far as that is not a directory.
func (c *Caller) MayCallAll(servers string) error {
	if strings.Contains(servers, "://") {
		return nil // It will be seen what a directory says.
	}
	for address := range strings.SplitSeq(servers, ",") {
		if err := c.mayCall(address); err != nil {
			return err
		}
	}
	return nil
}

// mayCall returns an error if the credential should not be sent to a server.
func (c *Caller) mayCall(address string) error {
	if c.tls != nil || c.flags.AllowCleartext || !c.flags.Given() {
		return nil
	}
	if err := credential.Cleartext(address, credential.Header); err != nil {
		return fmt.Errorf("%w; see %s and %s", err, c.Flag("tls"), c.Flag("allow-cleartext-credentials"))
	}
	return nil
}

// Renewed waits for a time, or until the credential is another one than was sent.
func (c *Caller) Renewed(ctx context.Context, most time.Duration) {
	for end := time.Now().Add(most); time.Now().Before(end); {
		if backoff.Sleep(ctx, min(looks, time.Until(end))) != nil {
			return
		}
		if now, err := c.flags.Authorization(); err == nil && now != c.lastSent() {
			return
		}
	}
}

func (c *Caller) lastSent() string {
	if sent := c.sent.Load(); sent != nil {
		return *sent
	}
	return ""
}
