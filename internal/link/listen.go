package link

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/listen"
	"github.com/promgrpc/exporter/internal/peer"
	"github.com/promgrpc/exporter/internal/throttle"
)

// Handler serves one connection. It answers the hello with [Conn.Welcome] and
// goes on from there, or returns an error, which the peer is told in a goodbye.
// When ctx ends, Receive returns [ErrInterrupted] and the handler should send
// what it still owes and return. The connection is closed when it returns.
type Handler func(ctx context.Context, c *Conn, hello *linkv1.Hello) error

// Listener takes in connections.
type Listener struct {
	o        Options
	listener net.Listener
	log      *throttle.Logger
	slots    *limit.Budget // of connections

	mu    sync.Mutex
	conns map[*Conn]struct{}
	wg    sync.WaitGroup
}

// Listen binds address, with port 0 to a free port.
func Listen(address string, o Options) (*Listener, error) {
	o = o.withDefaults()
	if err := o.Trust.checkListener(); err != nil {
		return nil, err
	}
	l, err := listen.TCP(flagAddress, address)
	if err != nil {
		return nil, err
	}
	most := int64(limit.Connections(o.MaxConns))
	share := most
	if o.PeerShare > 0 {
		share = max(1, most*int64(o.PeerShare)/100)
	}
	return &Listener{
		o:        o,
		listener: l,
		log:      throttle.New(o.Logger, 10*time.Second),
		slots:    limit.NewBudget(flagConns, "connections", most, share),
		conns:    make(map[*Conn]struct{}),
	}, nil
}

// Addr returns the address that was bound.
func (l *Listener) Addr() net.Addr { return l.listener.Addr() }

// Secured says whether connections are encrypted, and whether those who dial have to
// present a certificate.
func (l *Listener) Secured() (encrypted, certificates bool) {
	if l.o.Trust.TLS == nil {
		return false, false
	}
	return true, l.o.Trust.TLS().ClientAuth == tls.RequireAndVerifyClientCert
}

// Close frees the address. It may be called twice, before, during or after Run.
// Connections go on until Run's context ends.
func (l *Listener) Close() error {
	if err := l.listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Run takes in connections and has each served by h in a goroutine of its own,
// until ctx ends. It then closes the listener, ends the handlers' context,
// waits for them up to DrainTimeout, and says goodbye to their peers. It
// returns an error only when listening broke off for another reason.
func (l *Listener) Run(ctx context.Context, h Handler) error {
	handlers, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	err := l.accept(handlers, h)
	if ctx.Err() != nil {
		err = nil
	}
	cancel()
	l.drain()
	return err
}

func (l *Listener) accept(ctx context.Context, h Handler) error {
	for {
		conn, err := l.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("link: %w", err)
		case err != nil:
			// Out of file descriptors, most likely: others may give theirs back.
			l.log.Log(slog.LevelError, "accept link", "err", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		slot := l.slots.Hold(peer.At(conn.RemoteAddr().String()))
		if err := slot.Grow(1); err != nil {
			l.rejected(conn.RemoteAddr(), reasonConnections, err)
			l.o.Metrics.rejected.WithLabelValues(reasonConnections).Inc()
			_ = conn.Close()
			continue
		}
		l.wg.Go(func() {
			defer slot.Release()
			l.serve(ctx, conn, h)
		})
	}
}

// drain waits for the handlers, and after DrainTimeout closes their connections.
func (l *Listener) drain() {
	done := make(chan struct{})
	go func() { l.wg.Wait(); close(done) }()
	timeout := time.NewTimer(l.o.DrainTimeout)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		l.mu.Lock()
		for c := range l.conns {
			go c.Close()
		}
		l.mu.Unlock()
		<-done
	}
}

func (l *Listener) serve(ctx context.Context, conn net.Conn, h Handler) {
	if l.o.Trust.TLS != nil {
		conn = tls.Server(conn, l.o.Trust.listening())
	}
	c := newConn(conn, l.o)
	defer c.Close()
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.conns, c)
		l.mu.Unlock()
	}()
	stop := context.AfterFunc(ctx, c.Interrupt)
	defer stop()

	hello, err := c.readHello(ctx)
	if err != nil {
		l.handshakeFailed(c, err)
		return
	}
	err = h(ctx, c, hello)
	l.finish(ctx, c, hello, err)
}

// finish ends the connection, and tells the peer why the handler ended.
func (l *Listener) finish(ctx context.Context, c *Conn, hello *linkv1.Hello, err error) {
	var bye *GoodbyeError
	var frame *frameError
	args := []any{"peer", c.RemoteAddr().String(), "instance", hello.GetInstance(), "role", hello.GetRole().String()}
	switch {
	case ctx.Err() != nil:
		_ = c.CloseWith("shutting down")
	case !c.welcomed:
		if err == nil {
			err = errors.New("not welcome")
		}
		l.o.Metrics.rejected.WithLabelValues(reasonRefused).Inc()
		l.rejected(c.RemoteAddr(), reasonRefused, err)
		c.closeFor(err)
	case err == nil:
		_ = c.CloseWith("done")
	case errors.As(err, &frame):
		l.rejected(c.RemoteAddr(), frame.Reason, err)
		_ = c.CloseWith(frame.Error())
	case errors.As(err, &bye):
		l.o.Logger.Debug("link closed by its peer", append(args, "reason", bye.Reason)...)
	case errors.Is(err, io.EOF):
		l.log.Log(slog.LevelInfo, "link lost", append(args, "err", err)...)
	default:
		l.log.Log(slog.LevelWarn, "link broken", append(args, "err", err)...)
		c.closeFor(err)
	}
}

func (l *Listener) handshakeFailed(c *Conn, err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, ErrInterrupted) {
		return // A port check, or the end of the listener.
	}
	var bye *GoodbyeError
	if errors.As(err, &bye) {
		l.log.Log(slog.LevelWarn, "link refused by its peer", "peer", c.RemoteAddr().String(), "reason", bye.Reason)
		return
	}
	reason := reasonJunk
	var frame *frameError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &frame):
		reason = frame.Reason
		if slices.Contains(explained, reason) {
			_ = c.CloseWith(frame.Err.Error())
		}
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, ErrIdle):
		reason = reasonTimeout
		l.o.Metrics.rejected.WithLabelValues(reason).Inc()
	case errors.As(err, &record), l.o.Trust.TLS != nil:
		reason = reasonTLS
		l.o.Metrics.rejected.WithLabelValues(reason).Inc()
	default:
		l.o.Metrics.rejected.WithLabelValues(reason).Inc()
	}
	l.rejected(c.RemoteAddr(), reason, err)
}

func (l *Listener) rejected(from net.Addr, reason string, err error) {
	l.log.Log(slog.LevelWarn, "link rejected", "peer", from.String(), "reason", reason, "err", err)
}

// readHello reads the hello, within the time and size that a stranger gets.
func (c *Conn) readHello(ctx context.Context) (*linkv1.Hello, error) {
	deadline := time.Now().Add(c.o.HandshakeTimeout)
	_ = c.conn.SetDeadline(deadline)
	if err := c.secure(ctx); err != nil {
		return nil, err
	}
	if c.o.Trust.TLS == nil && c.startsTLS() {
		return nil, c.reject(&frameError{reasonTLS, errors.New("the side that dialled has TLS, and this listener has none: " + FlagConfigFile)})
	}
	c.readLimit = maxHandshake
	f, err := c.receive()
	if err != nil {
		return nil, err
	}
	c.readLimit = c.o.MaxFrame
	if g := f.GetGoodbye(); g != nil {
		return nil, goodbyeError(g)
	}
	hello := f.GetHello()
	if hello == nil {
		return nil, c.reject(junk("the first frame is no hello"))
	}
	if v := hello.GetVersion(); v != Version {
		return nil, c.reject(&frameError{Reason: reasonVersion, Err: fmt.Errorf("version %d of the protocol is not spoken here, version %d is", v, Version)})
	}
	if err := c.checkPeer(); err != nil {
		return nil, c.reject(err)
	}
	return hello, c.checkInstance(hello.GetInstance())
}

// startsTLS says whether a handshake of TLS comes, which no frame begins like.
func (c *Conn) startsTLS() bool {
	const record, version = 22, 3
	if first, _ := c.read.Peek(1); len(first) == 0 || first[0] != record {
		return false
	}
	start, _ := c.read.Peek(2)
	return len(start) == 2 && start[1] == version
}

// Welcome answers the hello of a connection that a [Handler] got. The version is
// set, and the instance where it is empty.
func (c *Conn) Welcome(w *linkv1.Welcome) error {
	if c.welcomed {
		return errors.New("link: welcomed twice")
	}
	w = proto.CloneOf(w)
	w.Version = Version
	w.Instance = shorten(cmp.Or(w.Instance, c.o.Instance), maxInstance)
	if err := c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Welcome{Welcome: w}}); err != nil {
		return err
	}
	c.establish("in")
	return nil
}
