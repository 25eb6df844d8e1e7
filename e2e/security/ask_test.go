package security

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/promgrpc/exporter/e2e/harness"
	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/gen/go/thanos/thanosconnect"
	"github.com/promgrpc/exporter/internal/link"
)

// Outcomes, as the table has them.
const (
	yes          = "yes"
	noConnection = "no connection"
)

// asks are all the ways to ask a port, by its kind.
var asks = map[string]map[string]func(t *testing.T, c caller, p port) string{
	remoteWrite: {"HTTP/1.1": writeBy(1), "HTTP/2": writeBy(2)},
	operators:   {"HTTP/1.1": scrapeBy(1), "HTTP/2": scrapeBy(2)},
	links:       {"link": connectLink},
	rpc: {
		"grpc-go":                     callGRPC,
		"gRPC":                        callBy(2, snapshot, connect.WithGRPC()),
		"gRPC-Web, HTTP/1.1":          callBy(1, snapshot, connect.WithGRPCWeb()),
		"gRPC-Web, HTTP/2":            callBy(2, snapshot, connect.WithGRPCWeb()),
		"Connect, HTTP/1.1":           callBy(1, snapshot),
		"Connect, HTTP/2":             callBy(2, snapshot),
		"GET":                         get(labelValues),
		"Query, gRPC":                 callBy(2, query, connect.WithGRPC()),
		"Query, gRPC-Web":             callBy(1, query, connect.WithGRPCWeb()),
		"Query, Connect":              callBy(1, query),
		"EvaluateRules, gRPC":         callBy(2, evaluateRules, connect.WithGRPC()),
		"EvaluateRules, gRPC-Web":     callBy(1, evaluateRules, connect.WithGRPCWeb()),
		"EvaluateRules, Connect":      callBy(1, evaluateRules),
		"ReadSeries, gRPC":            callBy(2, readSeries, connect.WithGRPC()),
		"ReadSeries, gRPC-Web":        callBy(1, readSeries, connect.WithGRPCWeb()),
		"ReadSeries, Connect":         callBy(1, readSeries),
		"FollowTime, gRPC":            callBy(2, followTime, connect.WithGRPC()),
		"FollowTime, gRPC-Web":        callBy(1, followTime, connect.WithGRPCWeb()),
		"FollowTime, Connect":         callBy(1, followTime),
		"StoreAPI, gRPC":              callBy(2, storeSeries, connect.WithGRPC()),
		"StoreAPI, gRPC-Web":          callBy(1, storeSeries, connect.WithGRPCWeb()),
		"StoreAPI, Connect":           callBy(1, storeSeries),
		"Prometheus' API":             get("/api/v1/query?query=" + expression),
		"Prometheus' API, its series": get("/api/v1/series?match[]=matrix"),
	},
}

// question is what every caller of the RPC port asks for.
var question = &metricsv1.GetMetricsRequest{Selectors: []string{"matrix"}}

// expression and rules come to the same series, however long ago it was written.
const (
	expression = "last_over_time(matrix[1h])"
	rules      = "groups: [{name: all, interval: 1s, rules: [{record: matrix:last, expr: '" + expression + "'}]}]"
)

// labelValues is a call by Connect's GET.
const labelValues = metricsv1connect.MetricsServiceGetLabelValuesProcedure + `?connect=v1&encoding=json&message=%7B%22name%22%3A%22__name__%22%7D`

// sample is what they get.
func sample(t *testing.T) []byte {
	return harness.Encode(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:  []prompb.Label{{Name: "__name__", Value: "matrix"}},
		Samples: []prompb.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}},
	}}})
}

func writeBy(version int) func(*testing.T, caller, port) string {
	return func(t *testing.T, c caller, p port) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url(p, "/api/v1/write"), strings.NewReader(string(sample(t))))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-protobuf")
		r.Header.Set("Content-Encoding", "snappy")
		return c.do(version, r, "")
	}
}

func scrapeBy(version int) func(*testing.T, caller, port) string {
	return func(t *testing.T, c caller, p port) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url(p, "/metrics"), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.do(version, r, "go_goroutines")
	}
}

// get asks as a browser's address bar or curl can.
func get(path string) func(*testing.T, caller, port) string {
	return func(t *testing.T, c caller, p port) string {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url(p, path), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.do(1, r, "matrix")
	}
}

// do sends a request. What is let in has to have a text in its answer.
func (c caller) do(version int, r *http.Request, text string) string {
	s := c.sender(version)
	defer s.CloseIdleConnections()
	res, err := s.client().Do(r)
	if s.refused {
		return noConnection
	}
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err.Error()
	case res.StatusCode/100 == 2 && !strings.Contains(string(body), text):
		return fmt.Sprintf("an answer without %s: %s", text, body)
	case res.StatusCode/100 == 2:
		return yes
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		return fmt.Sprint(res.StatusCode)
	}
	return fmt.Sprintf("%d: %s", res.StatusCode, body)
}

// call makes a call, and returns all that the stream says.
type call func(ctx context.Context, client *http.Client, url string, options ...connect.ClientOption) (string, error)

func callBy(version int, made call, options ...connect.ClientOption) func(*testing.T, caller, port) string {
	return func(t *testing.T, c caller, p port) string {
		s := c.sender(version)
		defer s.CloseIdleConnections()
		got, err := made(t.Context(), s.client(), c.url(p, ""), options...)
		switch code := connect.CodeOf(err); {
		case err == nil:
			return ofAnswer(got)
		case s.refused:
			return noConnection
		case connect.IsWireError(err) && code == connect.CodeUnauthenticated:
			return "401"
		case connect.IsWireError(err) && code == connect.CodePermissionDenied:
			return "403"
		}
		return err.Error()
	}
}

func snapshot(ctx context.Context, client *http.Client, url string, options ...connect.ClientOption) (string, error) {
	stream, err := metricsv1connect.NewMetricsServiceClient(client, url, options...).GetMetrics(ctx, connect.NewRequest(question))
	return receive(stream, err)
}

func query(ctx context.Context, client *http.Client, url string, options ...connect.ClientOption) (string, error) {
	stream, err := queryv1connect.NewQueryServiceClient(client, url, options...).Query(ctx, connect.NewRequest(&queryv1.QueryRequest{
		Expression: expression, Step: durationpb.New(time.Second), Delay: durationpb.New(0),
	}))
	return receive(stream, err)
}

func evaluateRules(ctx context.Context, client *http.Client, url string, options ...connect.ClientOption) (string, error) {
	stream, err := queryv1connect.NewQueryServiceClient(client, url, options...).EvaluateRules(ctx, connect.NewRequest(&queryv1.EvaluateRulesRequest{
		Rules: rules, Delay: durationpb.New(0),
	}))
	return receive(stream, err)
}

func readSeries(ctx context.Context, client *http.Client, url string, options ...connect.ClientOption) (string, error) {
	stream, err := queryv1connect.NewQueryServiceClient(client, url, options...).ReadSeries(ctx, connect.NewRequest(&queryv1.ReadSeriesRequest{
		Selectors: question.GetSelectors(), MaxTime: math.MaxInt64,
	}))
	return receive(stream, err)
}

// followTime gets the time of the logs that the series is in.
func followTime(ctx context.Context, client *http.Client, url string, options ...connect.ClientOption) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := queryv1connect.NewQueryServiceClient(client, url, options...).FollowTime(ctx, connect.NewRequest(&queryv1.FollowTimeRequest{}))
	if err != nil {
		return "", err
	}
	defer func() { _ = stream.Close() }()
	for stream.Receive() {
		if stream.Msg().Time != nil {
			return "the time of matrix: " + fmt.Sprint(stream.Msg()), nil
		}
	}
	return "", stream.Err()
}

func storeSeries(ctx context.Context, client *http.Client, url string, options ...connect.ClientOption) (string, error) {
	stream, err := thanosconnect.NewStoreClient(client, url, options...).Series(ctx, connect.NewRequest(&thanos.SeriesRequest{
		MaxTime: math.MaxInt64, Matchers: []*thanos.LabelMatcher{{Name: "__name__", Value: "matrix"}},
	}))
	return receive(stream, err)
}

// receive returns all that a stream says.
func receive[T any](stream *connect.ServerStreamForClient[T], err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer func() { _ = stream.Close() }()
	var got strings.Builder
	for stream.Receive() {
		_, _ = fmt.Fprint(&got, stream.Msg())
	}
	return got.String(), stream.Err()
}

func ofAnswer(text string) string {
	if !strings.Contains(text, "matrix") {
		return "an answer without the series: " + text
	}
	return yes
}

func callGRPC(t *testing.T, c caller, p port) string {
	secured := insecure.NewCredentials()
	if c.tls != nil {
		secured = credentials.NewTLS(c.tls.Clone())
	}
	conn, err := grpc.NewClient("passthrough:///"+p.address, grpc.WithTransportCredentials(secured))
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if c.authorization != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", c.authorization)
	}
	var got strings.Builder
	stream, err := metricsv1grpc.NewMetricsServiceClient(conn).GetMetrics(ctx, question)
	for err == nil {
		var m *metricsv1.GetMetricsResponse
		if m, err = stream.Recv(); err == nil {
			got.WriteString(m.String())
		}
	}
	switch code := status.Code(err); {
	case errors.Is(err, io.EOF):
		return ofAnswer(got.String())
	case code == codes.Unauthenticated:
		return "401"
	case code == codes.PermissionDenied:
		return "403"
	case code == codes.Unavailable:
		return noConnection
	}
	return err.Error()
}

// connectLink says hello as who calls there.
func connectLink(t *testing.T, c caller, p port) string {
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: []byte("the matrix' log.")}
	if p.program == "forwarder" {
		hello = &linkv1.Hello{Role: linkv1.Role_ROLE_RECEIVER}
	}
	o := link.Options{HandshakeTimeout: patience, Instance: "matrix"}
	if c.tls != nil {
		o.Trust.TLS = func() *tls.Config { return c.tls }
	}
	conn, _, err := link.Dial(t.Context(), p.address, hello, o)
	if err != nil {
		return noConnection
	}
	_ = conn.Close()
	return yes
}
