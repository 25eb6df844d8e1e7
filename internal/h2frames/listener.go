package h2frames

import (
	"bufio"
	"net"
	"sync"
	"sync/atomic"
)

// Listener accepts connections that cut frames, and pace what begins calls. They
// are for a server that speaks HTTP/2 without TLS, beside whatever else.
type Listener struct {
	net.Listener
	// CallRate is how many calls and streams a connection may begin in a second.
	CallRate int
}

// Accept implements [net.Listener].
func (l Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	f := &conn{
		Conn: c, in: bufio.NewReaderSize(c, openingSize),
		openings: openings{rate: l.CallRate}, closed: make(chan struct{}),
	}
	f.opening = f.readPreface
	return f, nil
}

// conn is a connection that cuts frames. One goroutine may read, and another write.
type conn struct {
	net.Conn
	limit atomic.Uint32 // how large a frame the client takes; 0: this is not HTTP/2

	in      *bufio.Reader
	opening func() // reads what is next of what a connection opens with
	ready   []byte // for Read

	openings openings
	closing  sync.Once
	closed   chan struct{}

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
	pieces := c.cutter.cut(p, limit)
	if _, err := pieces.WriteTo(c.Conn); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// CloseWrite lets net/http end an answer of HTTP/1 before it closes the connection.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
