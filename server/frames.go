package server

import (
	"bufio"
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// Frames of HTTP/2. Most clients take 16 KiB, since they say nothing of it. Each
// frame that net/http sends is handed from goroutine to goroutine, and goes to
// the kernel by itself, which takes more time than to fill it. So net/http is
// told that the client takes largeFrame. Such a frame is cut here into those
// that the client does take, and they go to the kernel together.
const (
	smallFrame = 16 << 10
	largeFrame = 128 << 10

	frameHeader = 9
	settingSize = 6
)

// framesListener accepts connections that cut frames, and pace what begins calls.
type framesListener struct {
	net.Listener
	rate int // of calls per second, on one connection
}

// Accept implements [net.Listener].
func (l framesListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	f := &framesConn{
		Conn: c, in: bufio.NewReaderSize(c, openingSize),
		openings: openings{rate: l.rate}, closed: make(chan struct{}),
	}
	f.opening = f.readPreface
	return f, nil
}

// framesConn is a connection that cuts frames. Other protocols than HTTP/2 pass
// through it. One goroutine may read, and another write.
type framesConn struct {
	net.Conn
	limit atomic.Uint32 // how large a frame the client takes; 0: this is not HTTP/2

	in      *bufio.Reader
	opening func() // reads what is next of what a connection opens with
	ready   []byte // for Read

	openings openings
	closing  sync.Once
	closed   chan struct{}

	header [frameHeader]byte // of the frame that is being written
	got    int               // bytes of the header
	left   int               // bytes of the frame that are still to come
	piece  int               // and of them, those that belong to the header written last
	pieces net.Buffers       // to write
	heads  []byte            // those in pieces
	rest   net.Buffers       // of pieces, while they are written
}

// openingSize is room for a client's settings, of which there are a few.
const openingSize = 512

// Read implements [net.Conn].
func (c *framesConn) Read(p []byte) (int, error) {
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

// pace waits for as long as what was read has come too early.
func (c *framesConn) pace(read []byte) {
	wait := c.openings.wait(read, time.Now())
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closed:
	}
}

// Close implements [net.Conn].
func (c *framesConn) Close() error {
	c.closing.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// readPreface finds out whether this is HTTP/2. An error is left for Read, which
// meets it again.
func (c *framesConn) readPreface() {
	c.opening = nil
	for n := range len(http2.ClientPreface) {
		if b, err := c.in.Peek(n + 1); err != nil || b[n] != http2.ClientPreface[n] {
			return
		}
	}
	c.limit.Store(smallFrame)
	c.ready = []byte(http2.ClientPreface)
	_, _ = c.in.Discard(len(c.ready))
	c.opening = c.readSettings
}

// readSettings changes the client's settings, the frame behind the preface. What
// is wrong with them is left for net/http to say.
func (c *framesConn) readSettings() {
	c.opening = nil
	header, err := c.in.Peek(frameHeader)
	if err != nil {
		return
	}
	size := frameSize(header)
	if http2.FrameType(header[3]) != http2.FrameSettings || size%settingSize != 0 || frameHeader+size > openingSize {
		return
	}
	frame, err := c.in.Peek(frameHeader + size)
	if err != nil {
		return
	}
	if changed, limit := allowLarge(frame); limit >= smallFrame {
		c.limit.Store(limit)
		c.ready = changed
		_, _ = c.in.Discard(len(frame))
	}
}

// allowLarge returns a client's settings with largeFrame as the least size that
// it takes, and which size that was. An unset one means smallFrame.
func allowLarge(settings []byte) (changed []byte, limit uint32) {
	changed = slices.Clone(settings)
	given := changed[frameHeader:]
	for len(given) > 0 && http2.SettingID(binary.BigEndian.Uint16(given)) != http2.SettingMaxFrameSize {
		given = given[settingSize:]
	}
	if len(given) == 0 {
		changed = append(changed, 0, byte(http2.SettingMaxFrameSize), 0, 0, smallFrame>>8, 0)
		setFrameSize(changed, len(changed)-frameHeader)
		given = changed[len(changed)-settingSize:]
	}
	limit = binary.BigEndian.Uint32(given[2:])
	binary.BigEndian.PutUint32(given[2:], max(limit, largeFrame))
	return changed, limit
}

// Write implements [net.Conn].
func (c *framesConn) Write(p []byte) (int, error) {
	limit := int(c.limit.Load())
	if limit == 0 || c.fits(p, limit) {
		return c.Conn.Write(p)
	}
	c.pieces, c.heads = c.pieces[:0], c.heads[:0]
	for b := p; len(b) > 0; {
		if c.left > 0 {
			n := min(len(b), c.piece)
			c.pieces = append(c.pieces, b[:n])
			b = b[n:]
			c.left -= n
			if c.piece -= n; c.piece == 0 && c.left > 0 {
				c.begin(limit)
			}
			continue
		}
		n := copy(c.header[c.got:], b)
		b = b[n:]
		if c.got += n; c.got == frameHeader {
			c.got, c.left = 0, frameSize(c.header[:])
			c.begin(limit)
		}
	}
	c.rest = c.pieces
	if _, err := c.rest.WriteTo(c.Conn); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite lets net/http end an answer of HTTP/1 before it closes the connection.
func (c *framesConn) CloseWrite() error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.CloseWrite()
	}
	return nil
}

// fits says that p is whole frames, none of which is to be cut.
func (c *framesConn) fits(p []byte, limit int) bool {
	if c.got > 0 || c.left > 0 {
		return false
	}
	for len(p) >= frameHeader && frameSize(p) <= limit && frameHeader+frameSize(p) <= len(p) {
		p = p[frameHeader+frameSize(p):]
	}
	return len(p) == 0
}

// begin writes the header of what is left of a frame, or of as much as the
// client takes. Only data comes in large frames; net/http does not pad it.
func (c *framesConn) begin(limit int) {
	c.piece = c.left
	if http2.FrameType(c.header[3]) == http2.FrameData {
		c.piece = min(c.left, limit)
	}
	at := len(c.heads)
	c.heads = append(c.heads, c.header[:]...)
	head := c.heads[at:len(c.heads):len(c.heads)]
	setFrameSize(head, c.piece)
	if c.piece < c.left {
		head[4] &^= byte(http2.FlagDataEndStream)
	}
	c.pieces = append(c.pieces, head)
}

func frameSize(header []byte) int { return int(header[0])<<16 | int(header[1])<<8 | int(header[2]) }

func setFrameSize(header []byte, n int) {
	header[0], header[1], header[2] = byte(n>>16), byte(n>>8), byte(n)
}
