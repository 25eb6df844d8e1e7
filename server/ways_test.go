package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// way is a protocol that every call can be made by. None compresses, so that what is sent
// can be searched.
type way struct {
	name    string
	h2      bool
	options []connect.ClientOption
}

var ways = []way{
	{"grpc", true, []connect.ClientOption{connect.WithGRPC(), plain}},
	{"grpcweb", false, []connect.ClientOption{connect.WithGRPCWeb(), plain}},
	{"connect", true, []connect.ClientOption{plain}},
	{"json", false, []connect.ClientOption{connect.WithProtoJSON(), plain}},
	{"get", false, []connect.ClientOption{connect.WithHTTPGet(), plain}},
}

// tapped sends a token, and keeps all that is answered.
type tapped struct {
	http.RoundTripper
	token string

	mu  sync.Mutex
	all bytes.Buffer
}

// RoundTrip implements [http.RoundTripper].
func (w *tapped) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if w.token != "" {
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	res, err := w.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = res.Header.Write(&w.all)
	res.Body = &recorded{res.Body, res, w}
	return res, nil
}

// recorded is the body of an answer.
type recorded struct {
	io.ReadCloser
	res *http.Response
	w   *tapped
}

// Read implements [io.Reader].
func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.w.all.Write(p[:n])
	if errors.Is(err, io.EOF) {
		_ = r.res.Trailer.Write(&r.w.all)
	}
	return n, err
}

// taken returns what was answered since the last time.
func (w *tapped) taken() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.all.Reset()
	return w.all.String()
}

// listening is a server or a router.
type listening interface{ RPCAddr() net.Addr }

// as returns a client that has a token.
func (v way) as(t testing.TB, s listening, token string) (metricsv1connect.MetricsServiceClient, *tapped) {
	client, stop := httpClient(v.h2)
	t.Cleanup(stop)
	w := &tapped{RoundTripper: client.Transport, token: token}
	return metricsv1connect.NewMetricsServiceClient(&http.Client{Transport: w}, "http://"+s.RPCAddr().String(), v.options...), w
}

func overWays(t *testing.T, test func(t *testing.T, v way)) {
	for _, v := range ways {
		t.Run(v.name, func(t *testing.T) { test(t, v) })
	}
}

// get receives all of a stream that does not follow.
func get(ctx context.Context, c metricsv1connect.MetricsServiceClient, req *getRequest) ([]*getResponse, error) {
	stream, err := c.GetMetrics(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	var got []*getResponse
	for stream.Receive() {
		got = append(got, stream.Msg())
	}
	return got, stream.Err()
}

// calls are all calls of the service.
var calls = map[string]func(ctx context.Context, c metricsv1connect.MetricsServiceClient) error{
	"GetMetrics": func(ctx context.Context, c metricsv1connect.MetricsServiceClient) error {
		_, err := get(ctx, c, &getRequest{})
		return err
	},
	"ReadLogs": func(ctx context.Context, c metricsv1connect.MetricsServiceClient) error {
		stream, err := c.ReadLogs(ctx, connect.NewRequest(&metricsv1.ReadLogsRequest{}))
		if err != nil {
			return err
		}
		defer stream.Close()
		for stream.Receive() {
		}
		return stream.Err()
	},
	"GetLabelNames": func(ctx context.Context, c metricsv1connect.MetricsServiceClient) error {
		_, err := c.GetLabelNames(ctx, connect.NewRequest(&metricsv1.GetLabelNamesRequest{}))
		return err
	},
	"GetLabelValues": func(ctx context.Context, c metricsv1connect.MetricsServiceClient) error {
		_, err := c.GetLabelValues(ctx, connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: "team"}))
		return err
	},
	"GetMetadata": func(ctx context.Context, c metricsv1connect.MetricsServiceClient) error {
		_, err := c.GetMetadata(ctx, connect.NewRequest(&metricsv1.GetMetadataRequest{}))
		return err
	},
	"ListSegments": func(ctx context.Context, c metricsv1connect.MetricsServiceClient) error {
		_, err := c.ListSegments(ctx, connect.NewRequest(&metricsv1.ListSegmentsRequest{}))
		return err
	},
	"GetStatus": func(ctx context.Context, c metricsv1connect.MetricsServiceClient) error {
		_, err := c.GetStatus(ctx, connect.NewRequest(&metricsv1.GetStatusRequest{}))
		return err
	},
}
