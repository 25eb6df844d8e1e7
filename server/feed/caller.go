package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/access"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/renew"
	"github.com/promgrpc/exporter/internal/seglog"
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
	// callerLooks is how often a caller that was refused looks whether its credential
	// was renewed.
	callerLooks = time.Second
)

// caller calls upstreams: over TLS or in the clear, and as somebody.
type caller struct {
	flags credential.Flags
	tls   *renew.TLS             // nil for none
	trust link.Trust             // over it
	sent  atomic.Pointer[string] // the last credential
}

// newCaller returns one that calls as flags say, and nobody but servers, if roles name
// any.
func newCaller(flags credential.Flags, roles link.Roles, logger *slog.Logger) (*caller, error) {
	if err := flags.Check(); err != nil {
		return nil, err
	}
	tls, err := flags.Dialer(logger)
	if err != nil {
		return nil, err
	}
	trust := link.Trust{TLS: tls.Getter(), Roles: roles, Peer: access.Server}
	if err := trust.CheckDialer(flags.Name("tls")); err != nil {
		return nil, err
	}
	return &caller{flags: flags, tls: tls, trust: trust}, nil
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
	if err := c.mayCall(address); err != nil {
		return err
	}
	value, err := c.flags.Authorization()
	if err != nil {
		return fmt.Errorf("credential: %w", err)
	}
	c.sent.Store(&value)
	if value != "" {
		header.Set(credential.Header, value)
	}
	return nil
}

// mayCallAll is mayCall for what a flag names, as far as that is not a directory.
func (c *caller) mayCallAll(servers string) error {
	if strings.Contains(servers, "://") {
		return nil // It will be seen what a directory says.
	}
	for address := range strings.SplitSeq(servers, ",") {
		if err := c.mayCall(address); err != nil {
			return err
		}
	}
	return nil
}

// mayCall returns an error if the credential should not be sent to a server.
func (c *caller) mayCall(address string) error {
	if c.tls != nil || c.flags.AllowCleartext || !c.flags.Given() {
		return nil
	}
	if err := credential.Cleartext(address, credential.Header); err != nil {
		return fmt.Errorf("%w; see %s and %s", err, c.flags.Name("tls"), c.flags.Name("allow-cleartext-credentials"))
	}
	return nil
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
	if c.tls == nil {
		transport.Protocols.SetUnencryptedHTTP2(true)
	} else {
		transport.Protocols.SetHTTP2(true)
		transport.TLSClientConfig = c.trust.Dialling(address)
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

// renewed waits for a time, or until the credential is another one than was sent.
func (c *caller) renewed(ctx context.Context, most time.Duration) {
	for end := time.Now().Add(most); time.Now().Before(end); {
		if backoff.Sleep(ctx, min(callerLooks, time.Until(end))) != nil {
			return
		}
		if now, err := c.flags.Authorization(); err == nil && now != c.lastSent() {
			return
		}
	}
}

func (c *caller) lastSent() string {
	if sent := c.sent.Load(); sent != nil {
		return *sent
	}
	return ""
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
