package promgrpc

import (
	"context"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// connectTransport uses Connect's generated client, for Connect and gRPC-Web.
type connectTransport struct {
	*dialer
	http *http.Transport
	stub metricsv1connect.MetricsServiceClient
}

func newConnectTransport(d *dialer, o *Options) *connectTransport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true) // only ever negotiated by TLS
	t := &http.Transport{
		DialContext:         d.dial,
		TLSClientConfig:     o.TLS,
		TLSHandshakeTimeout: o.DialTimeout,
		Protocols:           protocols,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 20 * time.Second, PingTimeout: 10 * time.Second},
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true,
	}
	scheme := "http://"
	if o.TLS != nil {
		t.TLSClientConfig = o.TLS.Clone() // the transport adds its protocols to it
		scheme = "https://"
	}
	options := []connect.ClientOption{
		connect.WithReadMaxBytes(maxMessageSize),
		// As over gRPC: no compression, which would cost the server far more
		// than the stream itself.
		connect.WithAcceptCompression("gzip", nil, nil),
	}
	if o.Protocol == ProtocolGRPCWeb {
		options = append(options, connect.WithGRPCWeb())
	}
	client := &http.Client{
		Transport: watchHTTP{t},
		// As over gRPC: what is sent along is for this server and no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &connectTransport{
		dialer: d,
		http:   t,
		stub:   metricsv1connect.NewMetricsServiceClient(client, scheme+d.address, options...),
	}
}

func (t *connectTransport) close() error {
	t.http.CloseIdleConnections()
	t.closeAll()
	return nil
}

func (t *connectTransport) wrap(x *exchange, err error) *Error {
	e := t.wrapped(err)
	// Over HTTP/1.1 a proxy, too, closes the connection when its server dies.
	if mayBreakOff(x, e) && !connect.IsWireError(err) && (x.gateway.Load() || t.lost.Load()) {
		e.broke = proxied
	}
	return e
}

func (t *connectTransport) getMetrics(ctx context.Context, req *metricsv1.GetMetricsRequest) (stream, error) {
	s, err := t.stub.GetMetrics(ctx, newRequest(ctx, req))
	if err != nil {
		return nil, err
	}
	return connectStream{s}, nil
}

func (t *connectTransport) getLabelNames(ctx context.Context, req *metricsv1.GetLabelNamesRequest) (*metricsv1.GetLabelNamesResponse, error) {
	return unwrap(t.stub.GetLabelNames(ctx, newRequest(ctx, req)))
}

func (t *connectTransport) getLabelValues(ctx context.Context, req *metricsv1.GetLabelValuesRequest) (*metricsv1.GetLabelValuesResponse, error) {
	return unwrap(t.stub.GetLabelValues(ctx, newRequest(ctx, req)))
}

func (t *connectTransport) getMetadata(ctx context.Context, req *metricsv1.GetMetadataRequest) (*metricsv1.GetMetadataResponse, error) {
	return unwrap(t.stub.GetMetadata(ctx, newRequest(ctx, req)))
}

func (t *connectTransport) listSegments(ctx context.Context, req *metricsv1.ListSegmentsRequest) (*metricsv1.ListSegmentsResponse, error) {
	return unwrap(t.stub.ListSegments(ctx, newRequest(ctx, req)))
}

func (t *connectTransport) getStatus(ctx context.Context, req *metricsv1.GetStatusRequest) (*metricsv1.GetStatusResponse, error) {
	return unwrap(t.stub.GetStatus(ctx, newRequest(ctx, req)))
}

func unwrap[Res any](res *connect.Response[Res], err error) (*Res, error) {
	if err != nil {
		return nil, err
	}
	return res.Msg, nil
}

type connectStream struct {
	*connect.ServerStreamForClient[metricsv1.GetMetricsResponse]
}

func (s connectStream) receive() (*metricsv1.GetMetricsResponse, error) {
	if s.Receive() {
		return s.Msg(), nil
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

func (s connectStream) close() { _ = s.Close() }
