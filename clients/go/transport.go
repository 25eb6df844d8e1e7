package promgrpc

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// transport is a connection to one server: grpc-go's for gRPC, and Connect's for
// Connect and gRPC-Web.
type transport interface {
	// open makes a streaming call.
	open(ctx context.Context, method string, req proto.Message) (stream, error)
	// invoke makes a unary call, and fills in res.
	invoke(ctx context.Context, method string, req, res proto.Message) error
	// wrap turns an error of the methods above into an *Error, which says how the
	// call broke off, if it did.
	wrap(x *exchange, err error) *Error
	close() error
}

// stream is a streaming call. Canceling its context ends it.
type stream interface {
	// receive fills in the next response. It returns io.EOF after a stream that ended
	// with status OK.
	receive(res proto.Message) error
	close()
}

func (c *Client) newTransport(address string) (transport, error) {
	d := &dialer{address: address, dialer: net.Dialer{
		Timeout:   c.options.DialTimeout,
		KeepAlive: 15 * time.Second,
	}}
	o := c.options
	if o.RenewTLS != nil {
		var err error
		if o.TLS, err = o.RenewTLS(); err != nil {
			return nil, &Error{Address: address, Code: codes.Unavailable, Message: "TLS: " + err.Error(), unread: true}
		}
	}
	if o.Protocol == ProtocolGRPC {
		return newGRPCTransport(d, &o)
	}
	return newConnectTransport(d, &o), nil
}

// dialer makes TCP connections, remembers why it could not (the libraries above
// reduce that to text), and closes them all in the end, idle or not.
type dialer struct {
	address string
	dialer  net.Dialer
	err     atomic.Pointer[error]
	lost    atomic.Bool // a connection was lost that we did not close

	mu     sync.Mutex
	open   map[*trackedConn]struct{}
	closed bool
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.dialer.DialContext(ctx, network, address)
	if err != nil {
		d.err.Store(&err)
		return nil, err
	}
	d.err.Store(nil)
	d.lost.Store(false)
	tracked := &trackedConn{Conn: conn, dialer: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	if d.open == nil {
		d.open = make(map[*trackedConn]struct{})
	}
	d.open[tracked] = struct{}{}
	return tracked, nil
}

func (d *dialer) closeAll() {
	d.mu.Lock()
	d.closed = true
	open := d.open
	d.open = nil
	d.mu.Unlock()
	for conn := range open {
		_ = conn.Conn.Close()
	}
}

type trackedConn struct {
	net.Conn
	dialer *dialer
}

func (c *trackedConn) Close() error {
	c.dialer.mu.Lock()
	delete(c.dialer.open, c)
	c.dialer.mu.Unlock()
	return c.Conn.Close()
}

// connected reports whether there is a connection.
func (d *dialer) connected() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open) > 0
}

func (c *trackedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.note(err)
	return n, err
}

func (c *trackedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.note(err)
	return n, err
}

// note remembers if the peer or the network ended the connection.
func (c *trackedConn) note(err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.dialer.lost.Store(true)
	}
}

// wrapped is the part of wrap that the protocols share.
func (d *dialer) wrapped(err error) *Error {
	e := newError(d.address, err)
	if p := d.err.Load(); p != nil && resumable(e) {
		e.Dial = *p
	}
	return e
}

// mayHaveBrokenOff reports whether the call of an error may have broken off. One that
// took too long did not: its server may be slow.
func mayHaveBrokenOff(x *exchange, e *Error) bool {
	return x.unanswered() && resumable(e) && e.Code != codes.DeadlineExceeded
}
