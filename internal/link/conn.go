package link

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/buffer"
	"github.com/promgrpc/exporter/internal/identity"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/peer"
)

// Conn is one link. Any number of goroutines may Send, one may Receive.
type Conn struct {
	conn net.Conn
	o    Options

	read      *bufio.Reader
	unread    []byte // What the smaller reader of the handshake had buffered.
	readUntil deadline
	frame     FrameBytes // Of the frame received last, unless it was kept.
	frameSize int        // Of the frame that is being received, 0 between two.
	readLimit int
	peer      string
	stopped   atomic.Pointer[error] // Why Receive has to return, nil while it has not.
	alive     context.Context       // Ends with that.
	end       context.CancelFunc
	goodbye   sync.Once
	expelled  atomic.Pointer[chan struct{}] // Closed when such a peer knows, nil of others.

	dialled  bool
	chains   [][]*x509.Certificate // That a dialler has verified itself.
	identity identity.Identity     // Set by the handshake, as is the next.
	expiry   time.Time             // Of the peer's certificate, zero of none.

	senders   atomic.Int32 // How many wait for mu: the last of them flushes.
	mu        sync.Mutex
	unwritten []byte // Frames that have not been written yet.
	writeErr  error
	writeBy   deadline
	began     time.Time
	lastSent  atomic.Int64 // Nanoseconds since began, by the monotonic clock.

	paced     int           // Pings and pongs that came since paceSince.
	paceSince time.Duration // Since began.

	welcomed bool // The handshake is done. Set before the second frame is received.
	pongDue  chan uint64

	life      sync.Mutex // Guards the following, and the start of keepalive against Close.
	isClosed  bool
	closeErr  error
	counted   prometheus.Gauge
	closed    chan struct{}
	keepalive sync.WaitGroup
}

// newConn returns a link on conn, without handshake and without keepalive: both
// come with [Dial] and [Listen].
func newConn(conn net.Conn, o Options) *Conn {
	o = o.withDefaults()
	c := &Conn{
		conn:      conn,
		o:         o,
		readLimit: o.MaxFrame,
		began:     time.Now(),
		pongDue:   make(chan uint64, 1),
		closed:    make(chan struct{}),
		peer:      peer.At(conn.RemoteAddr().String()),
	}
	c.alive, c.end = context.WithCancel(context.Background())
	c.read = bufio.NewReaderSize(deadlineReader{c}, maxHandshake)
	return c
}

// widen replaces the small reader of the handshake by one for many frames.
func (c *Conn) widen() {
	c.unread, _ = c.read.Peek(c.read.Buffered()) // They are there.
	c.read = bufio.NewReaderSize(deadlineReader{c}, readStep)
}

// RemoteAddr returns the address of the peer.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// Peer returns the peer that limits count the connection for.
func (c *Conn) Peer() string { return c.peer }

// Identity returns who the peer is as far as its certificate proves it.
func (c *Conn) Identity() identity.Identity { return c.identity }

// Receive returns the next frame that is not about the link itself: pings are
// answered and goodbyes come as *[GoodbyeError]. Silence comes as [ErrIdle], an end
// between two frames as io.EOF, junk as an error that says what is wrong. After an error
// the connection is of no use but for Send after [ErrInterrupted]. The frame is the
// caller's, but the body of a batch and the data of an append are valid until the next
// Receive, unless [Conn.Keep] is called.
func (c *Conn) Receive() (*linkv1.Frame, error) {
	for {
		if err := c.stopped.Load(); err != nil {
			return nil, *err
		}
		f, err := c.receive()
		if err != nil {
			return nil, err
		}
		switch k := f.GetKind().(type) {
		case *linkv1.Frame_Ping:
			// The keepalive answers, so that a peer that does not read can
			// never keep this side from reading.
			select {
			case c.pongDue <- k.Ping.GetId():
			default:
			}
			c.pace()
		case *linkv1.Frame_Pong:
			c.pace()
		case *linkv1.Frame_Goodbye:
			return nil, goodbyeError(k.Goodbye)
		case *linkv1.Frame_Hello, *linkv1.Frame_Welcome:
			return nil, c.reject(junk("handshake in the middle of a connection"))
		default:
			return f, nil
		}
	}
}

// keepaliveRate is how many pings and pongs a peer may send in a second. A sound one
// sends one every few seconds.
const keepaliveRate = 1000

// pace makes a peer wait that sends many pings and pongs: they cost time, but take no
// room that would bound them.
func (c *Conn) pace() {
	now := time.Since(c.began)
	if now-c.paceSince > time.Second {
		c.paceSince, c.paced = now, 0
	}
	if c.paced++; c.paced > keepaliveRate {
		time.Sleep(c.paceSince + time.Second - now)
	}
}

// Keep hands the bytes of the frame that was received last to the caller, who releases
// them when they are no longer needed.
func (c *Conn) Keep() FrameBytes {
	l := c.frame
	c.frame = FrameBytes{}
	return l
}

// FrameBytes are the bytes of a frame, and the room that they take.
type FrameBytes struct {
	buffer *buffer.Buffer
	room   *limit.Hold // Nil: they take none.
}

// Release gives both back. It may be called twice.
func (l *FrameBytes) Release() {
	if l.buffer != nil {
		l.buffer.Release()
	}
	if l.room != nil {
		l.room.Release()
	}
	*l = FrameBytes{}
}

func (c *Conn) receive() (*linkv1.Frame, error) {
	c.frame.Release()
	b, err := readFrame(c.read, c.readLimit, c)
	if err != nil {
		err = c.readError(err)
		c.frame.Release()
		return nil, err
	}
	c.frame.buffer, c.frameSize = b, 0
	f, kind, err := parseFrame(b.Bytes)
	if err != nil {
		return nil, c.readError(err)
	}
	c.o.Metrics.received[kind].Inc()
	return f, nil
}

// announced implements [progress].
func (c *Conn) announced(size int) error {
	if c.o.Room != nil && size > maxHandshake {
		room := c.o.Room.Hold(c.peer)
		if err := room.Wait(c.alive, int64(buffer.Size(size))); err != nil {
			if over := (*limit.Error)(nil); errors.As(err, &over) {
				return &frameError{Reason: reasonSize, Err: err}
			}
			return err
		}
		c.frame.room = room
	}
	c.frameSize = size
	return nil
}

// step implements [progress].
func (c *Conn) step() {
	if c.welcomed {
		c.readUntil.push(c.o.IdleTimeout, c.conn.SetReadDeadline)
	}
}

func (c *Conn) readError(err error) error {
	var frame *frameError
	switch {
	case errors.As(err, &frame):
		return c.reject(frame)
	case c.stopped.Load() != nil:
		return *c.stopped.Load()
	case c.welcomed && c.frameSize > 0 && errors.Is(err, os.ErrDeadlineExceeded):
		return c.reject(&frameError{Reason: reasonSlow, Err: fmt.Errorf(
			"a frame of %d bytes does not get on: less than %d bytes came in %s", c.frameSize, progressStep, c.o.IdleTimeout)})
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w for %s", ErrIdle, c.o.IdleTimeout)
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return fmt.Errorf("link: receive: %w", err)
}

func (c *Conn) reject(err *frameError) error {
	c.o.Metrics.rejected.WithLabelValues(err.Reason).Inc()
	return err
}

// Interrupt makes a Receive under way, and every later one, return
// [ErrInterrupted]. What was received and not yet returned is lost. Sending goes on.
func (c *Conn) Interrupt() { c.stop(ErrInterrupted) }

// stop makes a Receive under way, and every later one, return an error.
func (c *Conn) stop(why error) {
	c.stopped.CompareAndSwap(nil, &why)
	_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	c.end()
}

// deadlineReader sets a deadline for every read between two frames. Within a frame there
// is one for each step.
type deadlineReader struct{ c *Conn }

func (r deadlineReader) Read(p []byte) (int, error) {
	c := r.c
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	if c.welcomed && c.frameSize == 0 {
		c.readUntil.push(c.o.IdleTimeout, c.conn.SetReadDeadline)
	}
	if c.stopped.Load() != nil { // After the deadline: stop does it the other way round.
		_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	}
	n, err := c.conn.Read(p)
	c.o.Metrics.bytesReceived.Add(float64(n))
	return n, err
}

// deadline of a connection in one direction, which is extended all the time.
type deadline struct{ at time.Time }

// push sets a deadline that is timeout away, unless the present one is nearly as far:
// setting it costs more than the rest of a small frame.
func (d *deadline) push(timeout time.Duration, set func(time.Time) error) {
	now := time.Now()
	if d.at.Sub(now) > timeout-timeout/16 {
		return
	}
	d.at = now.Add(timeout)
	_ = set(d.at)
}

// Close closes the connection without a goodbye. It may be called twice and from any
// goroutine; Send and Receive return.
func (c *Conn) Close() error {
	if told := c.expelled.Load(); told != nil {
		select {
		case <-*told:
		case <-time.After(time.Second):
		}
	}
	c.life.Lock()
	if !c.isClosed {
		c.isClosed = true
		close(c.closed)
		c.end()
		c.closeErr = c.conn.Close()
		if c.counted != nil {
			c.counted.Dec()
		}
	}
	err := c.closeErr
	c.life.Unlock()
	c.keepalive.Wait()
	return err
}

// CloseWith tells the peer why, and closes the connection when the peer has closed its
// side or a second has passed. So the frames sent before arrive, even if some of the
// peer's were never read. Nobody may be in Receive.
func (c *Conn) CloseWith(reason string) error { return c.closeWith(goodbye(reason)) }

// closeFor is CloseWith for what a handler returned.
func (c *Conn) closeFor(err error) {
	g := goodbye(err.Error())
	if misplaced := (*MisplacedError)(nil); errors.As(err, &misplaced) {
		g.Code, g.PlacementVersion = linkv1.GoodbyeCode_GOODBYE_CODE_PLACEMENT, misplaced.Version
	}
	_ = c.closeWith(g)
}

func (c *Conn) closeWith(g *linkv1.Goodbye) error {
	select {
	case <-c.closed:
		return c.Close()
	default:
	}
	if err := c.sayGoodbye(g); err == nil {
		c.linger()
	}
	return c.Close()
}

// sayGoodbye tells the peer why. Only the first reason is told, and whoever has another
// waits until that has been.
func (c *Conn) sayGoodbye(g *linkv1.Goodbye) (err error) {
	c.goodbye.Do(func() { err = c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Goodbye{Goodbye: g}}) })
	return err
}

func (c *Conn) linger() {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Second))
	_, _ = io.Copy(io.Discard, c.conn)
}
