package feed

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/outgoing"
)

const (
	// callerDial is how long connecting may take, all addresses of a name together,
	// and TLS after that: a transport goes on dialing when nobody waits for it.
	callerDial = 10 * time.Second
	// callerMaxMessage leaves room for more than a server puts into one.
	callerMaxMessage = 4 << 20
	// callerWindow is how much of what an upstream sent may wait to be taken.
	callerWindow = 1 << 20
	// callerFrame is the largest frame of HTTP/2 it may send: about a message.
	callerFrame = 256 << 10
)

// caller calls upstreams.
type caller struct{ *outgoing.Caller }

// newCaller returns one that calls as flags say, and nobody but servers, if roles name
// any.
func newCaller(flags credential.Flags, roles link.Roles, logger *slog.Logger) (*caller, error) {
	c, err := outgoing.New(flags, roles, logger)
	if err != nil {
		return nil, err
	}
	return &caller{c}, nil
}

// readLogs calls ReadLogs of a server, over a connection of its own.
func (c *caller) readLogs(ctx context.Context, address string, msg *metricsv1.ReadLogsRequest) (*connect.ServerStreamForClient[metricsv1.ReadLogsResponse], error) {
	req := connect.NewRequest(msg)
	if err := c.sign(address, req.Header()); err != nil {
		return nil, err
	}
	return c.client(address).ReadLogs(ctx, req)
}

// status calls GetStatus of a server, the same way.
func (c *caller) status(ctx context.Context, address string) (*metricsv1.GetStatusResponse, error) {
	req := connect.NewRequest(&metricsv1.GetStatusRequest{})
	if err := c.sign(address, req.Header()); err != nil {
		return nil, err
	}
	res, err := c.client(address).GetStatus(ctx, req)
	if err != nil {
		return nil, err
	}
	return res.Msg, nil
}

// sign adds the credential to a call of a server.
func (c *caller) sign(address string, header http.Header) error {
	value, err := c.Authorization(address)
	if value != "" {
		header.Set(credential.Header, value)
	}
	return err
}

// client returns one for gRPC with a server. Each call has a connection of its own. Over
// TLS it goes through the proxy that the environment names, if it does: what is sent is
// for the server alone still.
func (c *caller) client(address string) metricsv1connect.MetricsServiceClient {
	transport := &http.Transport{
		DialContext:         (&net.Dialer{Timeout: callerDial}).DialContext,
		TLSHandshakeTimeout: callerDial,
		DisableKeepAlives:   true,
		Protocols:           new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream:     callerWindow,
			MaxReceiveBufferPerConnection: callerWindow,
			MaxReadFrameSize:              callerFrame,
		},
	}
	url := "http://" + address
	if !c.Encrypted() {
		transport.Protocols.SetUnencryptedHTTP2(true)
	} else {
		transport.Protocols.SetHTTP2(true)
		transport.TLSClientConfig = c.TLS(address)
		transport.Proxy = http.ProxyFromEnvironment
		url = "https://" + address
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // Another server, without TLS perhaps, is not what was configured.
	}}
	return metricsv1connect.NewMetricsServiceClient(client, url, connect.WithGRPC(),
		connect.WithReadMaxBytes(callerMaxMessage),
		connect.WithAcceptCompression("gzip", nil, nil), // Most of a log is compressed already.
	)
}

// errRefused is for a relay that no upstream lets read.
var errRefused = errors.New("no upstream lets this relay read: see its log")

// isRefusal reports whether an upstream refused who called. Another attempt would not
// cure that.
func isRefusal(err error) bool {
	code := connect.CodeOf(err)
	return code == connect.CodeUnauthenticated || code == connect.CodePermissionDenied
}

// reason is an error of a call, without what the library puts before the reset of a
// connection: that it was canceled, and the URL.
func reason(err error) error {
	var sent *url.Error
	if errors.As(err, &sent) {
		return sent.Err
	}
	return err
}

// hasDiverged says whether a call ended since the two ends have other blocks of a log.
func hasDiverged(err error) bool {
	return errors.Is(err, seglog.ErrMismatch) || connect.CodeOf(err) == connect.CodeFailedPrecondition
}
