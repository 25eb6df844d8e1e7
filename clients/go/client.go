package promgrpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/promgrpc/exporter/internal/address"
)

// maxMessageSize bounds a received message. Servers keep responses well below.
const maxMessageSize = 16 << 20

// Protocol is how calls are put on the wire.
type Protocol string

// The protocols that a MetricsService speaks on its one port.
const (
	ProtocolGRPC    Protocol = "grpc"
	ProtocolGRPCWeb Protocol = "grpcweb"
	ProtocolConnect Protocol = "connect"
)

// Options of a Client. The zero value is usable: gRPC over cleartext.
type Options struct {
	// Protocol, ProtocolGRPC by default.
	Protocol Protocol
	// TLS, if not nil, encrypts every connection.
	TLS *tls.Config
	// RenewTLS, if not nil, returns the configuration in place of TLS, for files
	// that are renewed in place, say. It is asked ahead of every stream that is
	// opened and whenever a connection has broken, may be called by several
	// goroutines at a time, and when it fails that counts as a server that cannot
	// be reached.
	RenewTLS func() (*tls.Config, error)
	// Header is sent along with every call, to a proxy that asks for it, say. It
	// may have no name that the protocols set themselves, such as Content-Type.
	// Metadata in the context of a call goes along too, over every protocol.
	Header http.Header
	// BearerToken, if not nil, returns the token that is sent along as
	// Authorization. It is asked ahead of every call and of every stream that is
	// opened, may be called by several goroutines at a time, and when it fails
	// that counts as a server that cannot be reached. Without TLS it is sent in
	// the clear. TokenFile returns one that reads a file.
	BearerToken func(ctx context.Context) (string, error)
	// Logger is told when a stream is lost and when it goes on. Nil discards.
	Logger *slog.Logger
	// Resolve, if not nil, returns the addresses (host:port) of the servers that
	// there are now, as a directory of services knows them, in an order that
	// stays. It is asked ahead of every attempt, may be called by several
	// goroutines at a time, and has DialTimeout to answer. When it fails, what
	// it returned before is used. New takes no addresses then.
	Resolve func(ctx context.Context) ([]string, error)
	// GRPC are dial options for ProtocolGRPC, applied after the Client's own.
	GRPC []grpc.DialOption
	// MaxReconnects bounds how often in a row, without a message in between,
	// Get opens a stream again. Zero means for ever while following and twice
	// per address otherwise; negative means not at all. A stream that a server
	// ended for its age alone is opened again at once, and does not count.
	MaxReconnects int
	// FailFast makes Get give up if no address lets it in when it starts,
	// rather than wait for one to come up.
	FailFast bool
	// DialTimeout of one connection attempt, 5 seconds by default.
	DialTimeout time.Duration
	// CallTimeout of one attempt of a call that is not a stream, 10 seconds
	// by default. The context bounds all attempts together.
	CallTimeout time.Duration
	// MinBackoff and MaxBackoff bound the pause before an address is tried
	// again, 100 milliseconds and 10 seconds by default. The pauses double,
	// with jitter.
	MinBackoff, MaxBackoff time.Duration
}

// Client calls a MetricsService at any of its addresses. It is safe for
// concurrent use.
type Client struct {
	addresses []string
	options   Options

	mu     sync.Mutex
	shared map[string]transport // by address, for calls that are not streams
	closed bool
}

// New makes a client for replicas at addresses (host:port), which are tried in
// this order. It connects to nothing yet.
func New(addresses []string, o Options) (*Client, error) {
	switch {
	case o.Resolve == nil && len(addresses) == 0:
		return nil, errNoAddress
	case o.Resolve != nil && len(addresses) != 0:
		return nil, errors.New("there are both addresses and a function that resolves them")
	}
	if o.TLS != nil && o.RenewTLS != nil {
		return nil, errors.New("there are both a configuration of TLS and a function that renews it")
	}
	for _, a := range addresses {
		if err := address.HostPort(a); err != nil {
			return nil, fmt.Errorf("address of a server: %w", err)
		}
	}
	if err := o.checkHeader(); err != nil {
		return nil, err
	}
	switch o.Protocol {
	case "":
		o.Protocol = ProtocolGRPC
	case ProtocolGRPC, ProtocolGRPCWeb, ProtocolConnect:
	default:
		return nil, fmt.Errorf("protocol %q: want %s, %s or %s", o.Protocol, ProtocolGRPC, ProtocolGRPCWeb, ProtocolConnect)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&o.DialTimeout, 5*time.Second)
	setDefault(&o.CallTimeout, 10*time.Second)
	setDefault(&o.MinBackoff, 100*time.Millisecond)
	setDefault(&o.MaxBackoff, 10*time.Second)
	return &Client{addresses: addresses, options: o, shared: make(map[string]transport)}, nil
}

// errNoAddress says that there is nobody to call.
var errNoAddress = errors.New("no address of a server")

func setDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

// Close ends the calls that are not streams and their connections. Streams end
// with the context of their Get. Close may be called twice.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var errs []error
	for _, t := range c.shared {
		errs = append(errs, t.close())
	}
	clear(c.shared)
	return errors.Join(errs...)
}
