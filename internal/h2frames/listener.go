package h2frames

import (
	"bufio"
	"net"
	"sync"
	"sync/atomic"
)

// Listener accepts connections that cut frames and pace streams.
type Listener struct {
	net.Listener
	// CallRate is how many streams a connection may open in a second.
	CallRate int
}

// Accept implements [net.Listener].
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	f := &conn{
		Conn: c, in: bufio.NewReaderSize(c, settingsRoom),
		pacer: pacer{rate: l.CallRate}, closed: make(chan struct{}),
	}
	f.opening = f.readPreface
	return f, nil
}

// conn is a connection that cuts frames and paces streams. One goroutine may read
// while another writes.
type conn struct {
	net.Conn
	limit atomic.Uint32 // the largest frame that the client accepts; 0 for other protocols

	in      *bufio.Reader
	opening func() // reads the next part of what a connection starts with, nil after that
	ready   []byte // what Read returns next

	pacer   pacer
	closing sync.Once
	closed  chan struct{}

	cutter cutter
}

// Read implements [net.Conn].
func (c *conn) Read(p []byte) (int, error) {
	for len(c.ready) == 0 && c.opening != nil {
		c.opening()
	}
	if len(c.ready) == 0 {
		n, err := c.in.Read(p)
		if n > 0 && c.limit.Load() != 0 {
			c.pace(p[:n])
		}
		return n, err
	}
	n := copy(p, c.ready)
	c.ready = c.ready[n:]
	return n, nil
}

// Write implements [net.Conn].
func (c *conn) Write(p []byte) (int, error) {
	limit := int(c.limit.Load())
	if limit == 0 || c.cutter.fits(p, limit) {
		return c.Conn.Write(p)
	}
	if err := c.writePieces(c.cutter.cut(p, limit)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// buffersWriter is a connection that writes pieces together in its own way, as one with
// TLS does.
type buffersWriter interface {
	WriteBuffers(pieces net.Buffers) error
}

func (c *conn) writePieces(pieces *net.Buffers) error {
	if together, ok := c.Conn.(buffersWriter); ok {
		return together.WriteBuffers(*pieces)
	}
	_, err := pieces.WriteTo(c.Conn)
	return err
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// NetConn returns the connection beneath.
func (c *conn) NetConn() net.Conn { return c.Conn }

// CloseWrite lets net/http end an HTTP/1 response before it closes the connection.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
