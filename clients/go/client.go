package promgrpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/address"
	"github.com/promgrpc/exporter/internal/backoff"
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

// GetLabelNames returns the label names of the live series that match.
func (c *Client) GetLabelNames(ctx context.Context, req *metricsv1.GetLabelNamesRequest) (*metricsv1.GetLabelNamesResponse, error) {
	return call(ctx, c, req, transport.getLabelNames)
}

// GetLabelValues returns the values of a label in the live series that match.
func (c *Client) GetLabelValues(ctx context.Context, req *metricsv1.GetLabelValuesRequest) (*metricsv1.GetLabelValuesResponse, error) {
	return call(ctx, c, req, transport.getLabelValues)
}

// GetMetadata returns type, help and unit of metric families.
func (c *Client) GetMetadata(ctx context.Context, req *metricsv1.GetMetadataRequest) (*metricsv1.GetMetadataResponse, error) {
	return call(ctx, c, req, transport.getMetadata)
}

// ListSegments returns the files of the first replica that answers.
func (c *Client) ListSegments(ctx context.Context) (*metricsv1.ListSegmentsResponse, error) {
	return call(ctx, c, &metricsv1.ListSegmentsRequest{}, transport.listSegments)
}

// GetStatus returns the state of the first replica that answers.
func (c *Client) GetStatus(ctx context.Context) (*metricsv1.GetStatusResponse, error) {
	return call(ctx, c, &metricsv1.GetStatusRequest{}, transport.getStatus)
}

// call makes a call that only reads at one address after the other, twice at
// each, until one answers, or until it seems that servers die of it.
func call[Req proto.Message, Res any](ctx context.Context, c *Client, req Req, method func(transport, context.Context, Req) (Res, error)) (Res, error) {
	var none Res
	if err := sendable(req); err != nil {
		return none, err
	}
	tries, suspect := c.newAttempts(), suspicion{client: c}
	for {
		var res Res
		err := tries.begin(ctx)
		if err == nil {
			c.keep(tries.addresses)
			res, err = callOnce(ctx, c, &suspect, tries.address(), req, method)
		}
		if err == nil {
			return res, nil
		}
		if ctx.Err() != nil {
			return none, context.Cause(ctx)
		}
		if !resumable(err) {
			return none, err
		}
		if given := suspect.broke(ctx, tries.address(), err); given != nil {
			return none, given
		}
		if tries.failed(err) >= 2*len(tries.addresses) {
			return none, tries.unreachable()
		}
		if err := backoff.Sleep(ctx, max(tries.delay(err), suspect.pause())); err != nil {
			return none, err
		}
	}
}

// sendable says why no server can be sent a request: it has text that is no UTF-8.
// The libraries would say so of each attempt, as of a connection that fails.
func sendable(req proto.Message) error {
	if _, err := proto.Marshal(req); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	return nil
}

func callOnce[Req, Res any](ctx context.Context, c *Client, suspect *suspicion, address string, req Req, method func(transport, context.Context, Req) (Res, error)) (Res, error) {
	var none Res
	t, err := c.sharedTransport(address)
	if err != nil {
		return none, err
	}
	if err := suspect.begin(ctx, address, t); err != nil {
		c.drop(address, t)
		return none, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.CallTimeout)
	defer cancel()
	if ctx, err = c.withHeader(ctx, address); err != nil {
		return none, err
	}
	ctx, x, end := withExchange(ctx)
	defer end()
	res, err := method(t, ctx, req)
	if err == nil {
		return res, nil
	}
	e := t.wrap(x, err)
	if resumable(e) {
		c.drop(address, t)
	}
	return none, e
}

func (c *Client) sharedTransport(address string) (transport, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("client is closed")
	}
	if c.shared[address] == nil {
		t, err := c.newTransport(address)
		if err != nil {
			return nil, err
		}
		c.shared[address] = t
	}
	return c.shared[address], nil
}

// keep closes the connections to servers that are not there any more.
func (c *Client) keep(addresses []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for address, t := range c.shared {
		if !slices.Contains(addresses, address) {
			delete(c.shared, address)
			_ = t.close()
		}
	}
}

// drop forgets a connection that failed, so that the next call makes a new one.
func (c *Client) drop(address string, t transport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shared[address] == t {
		delete(c.shared, address)
		_ = t.close()
	}
}
