package link

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
)

// Dial connects to address, says hello and waits for the welcome. The version
// of the hello is set, and its instance where it is empty. A peer that refuses
// gives a *[GoodbyeError]. The context ends the dialling, not the connection.
func Dial(ctx context.Context, address string, hello *linkv1.Hello, o Options) (*Conn, *linkv1.Welcome, error) {
	o = o.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, o.HandshakeTimeout)
	defer cancel()
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("link: %w", err)
	}
	c := newConn(raw, o)
	c.dialled = true
	if o.Trust.TLS != nil {
		c.conn = tls.Client(raw, o.Trust.dialling(address, func(chains [][]*x509.Certificate) error {
			c.chains = chains // Whoever has the wrong role is told so by a goodbye.
			return nil
		}))
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	welcome, err := c.dialHandshake(ctx, hello)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = c.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("link: %s: handshake: %w", address, ctx.Err())
		}
		return nil, nil, err
	}
	c.establish("out")
	return c, welcome, nil
}

func (c *Conn) dialHandshake(ctx context.Context, hello *linkv1.Hello) (*linkv1.Welcome, error) {
	if err := c.secure(ctx); err != nil {
		return nil, fmt.Errorf("link: %w", unanswered(err))
	}
	if err := c.checkPeer(); err != nil {
		_ = c.CloseWith(err.Err.Error())
		return nil, c.reject(err)
	}
	hello = proto.CloneOf(hello)
	hello.Version = Version
	hello.Instance = shorten(cmp.Or(hello.Instance, c.o.Instance), maxInstance)
	if err := c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Hello{Hello: hello}}); err != nil {
		return nil, err
	}
	c.readLimit = maxHandshake
	f, err := c.receive()
	if err != nil {
		return nil, unanswered(err)
	}
	c.readLimit = c.o.MaxFrame
	if g := f.GetGoodbye(); g != nil {
		return nil, goodbyeError(g)
	}
	welcome := f.GetWelcome()
	if welcome == nil {
		return nil, errors.New("link: the peer answered the hello with something else than a welcome")
	}
	if v := welcome.GetVersion(); v != Version {
		return nil, fmt.Errorf("link: the peer speaks version %d of the protocol, this is %d", v, Version)
	}
	return welcome, c.checkInstance(welcome.GetInstance())
}

// unanswered explains an end of the connection that the peer has not.
func unanswered(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("the other side ended the connection and gave no reason, as one does that has TLS for one that has none, or the reverse; its log has more: %w", err)
	}
	return err
}

// checkInstance refuses a name that is too long: it goes to the logs.
func (c *Conn) checkInstance(name string) error {
	if len(name) > maxInstance {
		return c.reject(junk("an instance name of %d bytes, %d are allowed", len(name), maxInstance))
	}
	return nil
}

// establish ends the handshake, on either side: frames of all kinds may come.
func (c *Conn) establish(direction string) {
	c.welcomed = true
	c.widen()
	c.mu.Lock()
	_ = c.conn.SetDeadline(time.Time{})
	c.writeBy = deadline{}
	c.mu.Unlock()
	c.life.Lock()
	defer c.life.Unlock()
	if c.isClosed {
		return
	}
	c.counted = c.o.Metrics.connections.WithLabelValues(direction)
	c.counted.Inc()
	c.keepalive.Go(c.keepAlive)
}
