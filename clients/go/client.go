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
	// that are renewed in place, say. It is called before every stream and after
	// every lost connection, possibly by several goroutines at once. An error of it
	// counts as a server that cannot be reached. TLSFiles has such a function.
	RenewTLS func() (*tls.Config, error)
	// Header is sent with every call, for a proxy, say. It must not have a name that
	// the protocols set themselves, such as Content-Type. Metadata in the context of
	// a call is sent too, over every protocol.
	Header http.Header
	// Authorization, if not nil, returns the value of the header of that name. It is
	// called before every call and every stream, and once more when a server does not
	// accept it, possibly by several goroutines at once. An error of it counts as a
	// server that cannot be reached. TokenFile and PasswordFile return functions that
	// read files.
	Authorization func(ctx context.Context) (string, error)
	// AllowCleartextCredentials sends credentials without TLS to other machines, too.
	// Otherwise a call that would do so ends with a *CleartextError. Credentials are
	// Authorization, and every header whose name is that of one, such as Cookie or
	// X-Api-Key. TLS that is set up by GRPC alone does not count as TLS.
	AllowCleartextCredentials bool
	// Logger logs when a stream is lost and when it is resumed. Nil discards.
	Logger *slog.Logger
	// Resolve, if not nil, returns the addresses (host:port) of the servers that
	// there are now, from a service directory, say, in a stable order. It is called
	// before every attempt, possibly by several goroutines at once, and has
	// DialTimeout to answer. If it fails, its previous answer is used. New must be
	// given no addresses then.
	Resolve func(ctx context.Context) ([]string, error)
	// GRPC are dial options for ProtocolGRPC, applied after the Client's own.
	GRPC []grpc.DialOption
	// MaxReconnects bounds how often in a row, without a message in between,
	// Get reopens a stream. Zero means no bound while following and twice per
	// address otherwise; negative means never. A stream that a server ended only
	// for its age is reopened at once, and does not count.
	MaxReconnects int
	// FailFast makes Get give up if no address serves it at the start, rather than
	// wait for one to come up.
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
// this order. It does not connect yet.
func New(addresses []string, o Options) (*Client, error) {
	switch {
	case o.Resolve == nil && len(addresses) == 0:
		return nil, errNoAddress
	case o.Resolve != nil && len(addresses) != 0:
		return nil, errors.New("both addresses and a function that resolves them are given")
	}
	if o.TLS != nil && o.RenewTLS != nil {
		return nil, errors.New("both a TLS configuration and a function that renews it are given")
	}
	for _, a := range addresses {
		if err := address.HostPort(a); err != nil {
			return nil, fmt.Errorf("address of a server: %w", err)
		}
	}
	if err := o.checkHeader(addresses); err != nil {
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
