package groups

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/server/outgoing"
	"github.com/promgrpc/exporter/server/router/raw"
)

const (
	// dialTime is how long connecting may take.
	dialTime = 10 * time.Second
	// perConn is how many calls are under way on a connection before another one is made:
	// servers allow some hundreds, and what is beyond waits.
	perConn = 64
	// connWindow is how much of all streams of a connection may be under way.
	connWindow = 4 << 20
	// largest message of a server.
	largest = 4 << 20
)

// quick has a server that comes back found within a second or so.
var quick = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}

// conns are the connections to one server.
type conns struct {
	caller  *outgoing.Caller
	address string

	mu      sync.Mutex
	open    []*conn
	retired bool
}

// conn is one of them.
type conn struct {
	*grpc.ClientConn
	calls int // under way
}

// take returns a connection for a call, and what is to be called when that is over.
func (c *conns) take() (*conn, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.open, func(o *conn) bool { return o.calls < perConn })
	if i < 0 {
		made, err := c.dial()
		if err != nil {
			return nil, nil, connect.NewError(connect.CodeUnavailable, err)
		}
		i, c.open = len(c.open), append(c.open, &conn{ClientConn: made})
	}
	taken := c.open[i]
	taken.calls++
	return taken, func() { c.give(taken) }, nil
}

// give closes a connection that nobody uses, unless it is the last of a server that is
// still called.
func (c *conns) give(taken *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if taken.calls--; taken.calls == 0 && (c.retired || len(c.open) > 1) {
		_ = taken.Close()
		c.open = slices.DeleteFunc(c.open, func(o *conn) bool { return o == taken })
	}
}

// retire closes the connections, those with calls under way after these.
func (c *conns) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
	c.open = slices.DeleteFunc(c.open, func(o *conn) bool {
		if o.calls == 0 {
			_ = o.Close()
		}
		return o.calls == 0
	})
}

func (c *conns) dial() (*grpc.ClientConn, error) {
	secured := insecure.NewCredentials()
	if c.caller.Encrypted() {
		secured = renewed{TransportCredentials: credentials.NewTLS(c.caller.TLS(c.address)), conns: c}
	}
	dialer := net.Dialer{Timeout: dialTime}
	return grpc.NewClient("passthrough:///"+c.address,
		grpc.WithTransportCredentials(secured),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", address)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: quick, MinConnectTimeout: dialTime}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithInitialWindowSize(raw.Window), grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largest)),
		grpc.WithDisableRetry(), // The router itself makes calls again.
		grpc.WithDisableServiceConfig(),
	)
}

// renewed is TLS by the files as they are when a connection is made.
type renewed struct {
	credentials.TransportCredentials
	conns *conns
}

// ClientHandshake implements [credentials.TransportCredentials].
func (r renewed) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return credentials.NewTLS(r.conns.caller.TLS(r.conns.address)).ClientHandshake(ctx, authority, raw)
}

// Clone implements [credentials.TransportCredentials].
func (r renewed) Clone() credentials.TransportCredentials { return r }

// signed adds the credential to a call of the server.
func (s *server) signed(ctx context.Context) (context.Context, error) {
	value, err := s.conns.caller.Authorization(s.address)
	if err != nil {
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	if value == "" {
		return ctx, nil
	}
	return metadata.AppendToOutgoingContext(ctx, credential.Header, value), nil
}
