package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"github.com/promgrpc/exporter/internal/identity"
)

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
	_ = c.sayGoodbye(goodbye(why.Err.Error()))
}
