package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
)

type getRequest = metricsv1.GetMetricsRequest
type getResponse = metricsv1.GetMetricsResponse

// receiver is the client's end of a stream; io.EOF is its end.
type receiver func() (*getResponse, error)

// protocol is a way to call a server.
type protocol struct {
	name string
	// lossy protocols know one NaN only.
	lossy bool
	// zipped responses are compressed.
	zipped bool
	// h2 and options are of the client; nil: it is that of grpc-go.
	h2      bool
	options []connect.ClientOption
	open    func(t testing.TB, ctx context.Context, address string, req *getRequest) receiver
}

var protocols = []protocol{
	{name: "grpc", open: openGRPC},
	byConnect(protocol{name: "grpcweb", zipped: true}, connect.WithGRPCWeb()),
	byConnect(protocol{name: "grpcweb h2", zipped: true, h2: true}, connect.WithGRPCWeb()),
	byConnect(protocol{name: "connect", zipped: true}),
	byConnect(protocol{name: "connect h2", zipped: true, h2: true}),
	byConnect(protocol{name: "connect json", lossy: true, zipped: true}, connect.WithProtoJSON()),
	byConnect(protocol{name: "grpc by connect", zipped: true, h2: true}, connect.WithGRPC()),
	// As browsers and curl call; the others of Connect's clients have gzip.
	byConnect(protocol{name: "grpcweb plain"}, connect.WithGRPCWeb(), plain),
	byConnect(protocol{name: "connect plain"}, plain),
	byConnect(protocol{name: "connect h2 plain", h2: true}, plain),
}

// byConnect is a protocol of Connect's client.
func byConnect(p protocol, o ...connect.ClientOption) protocol {
	p.options = append([]connect.ClientOption{}, o...)
	p.open = openConnect(p.h2, o...)
	return p
}

// plain is a client that does not accept compressed responses.
var plain = connect.WithAcceptCompression("gzip", nil, nil)

// overAll runs a test over every protocol.
func overAll(t *testing.T, test func(t *testing.T, p protocol)) {
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

func openGRPC(t testing.TB, ctx context.Context, address string, req *getRequest) receiver {
	return receiveGRPC(t, address, func(conn *grpc.ClientConn) (grpc.ServerStreamingClient[getResponse], error) {
		return metricsv1grpc.NewMetricsServiceClient(conn).GetMetrics(ctx, req)
	})
}

func openConnect(h2 bool, o ...connect.ClientOption) func(testing.TB, context.Context, string, *getRequest) receiver {
	return func(t testing.TB, ctx context.Context, address string, req *getRequest) receiver {
		return receiveConnect(t, h2, func(client *http.Client) (*connect.ServerStreamForClient[getResponse], error) {
			return metricsv1connect.NewMetricsServiceClient(client, "http://"+address, o...).GetMetrics(ctx, connect.NewRequest(req))
		})
	}
}

// receiveGRPC returns the client's end of a stream that grpc-go opens; io.EOF is its end.
func receiveGRPC[Response any](t testing.TB, address string, open func(*grpc.ClientConn) (grpc.ServerStreamingClient[Response], error)) func() (*Response, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	stream, err := open(conn)
	require.NoError(t, err)
	return stream.Recv
}

// receiveConnect is receiveGRPC for a client of Connect.
func receiveConnect[Response any](t testing.TB, h2 bool, open func(*http.Client) (*connect.ServerStreamForClient[Response], error)) func() (*Response, error) {
	client, stop := httpClient(h2)
	t.Cleanup(stop)
	stream, err := open(client)
	if err == nil {
		// Until then a connection of HTTP/1.1 is not idle, and stays open.
		t.Cleanup(func() { _ = stream.Close() })
	}
	return func() (*Response, error) {
		switch {
		case err != nil:
			return nil, err
		case stream.Receive():
			return stream.Msg(), nil
		case stream.Err() != nil:
			return nil, stream.Err()
		}
		return nil, io.EOF
	}
}

func connectClient(t testing.TB, address string, h2 bool, o ...connect.ClientOption) metricsv1connect.MetricsServiceClient {
	client, stop := httpClient(h2)
	t.Cleanup(stop)
	return metricsv1connect.NewMetricsServiceClient(client, "http://"+address, o...)
}

// httpClient returns a client of HTTP/1.1 or, without TLS, of HTTP/2. stop closes its
// connections, also one that its transport does not know to be idle yet.
func httpClient(h2 bool) (client *http.Client, stop func()) {
	var (
		mu   sync.Mutex
		open []net.Conn
	)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		open = append(open, conn)
		return conn, nil
	}}
	if h2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	return &http.Client{Transport: transport}, func() {
		transport.CloseIdleConnections()
		mu.Lock()
		defer mu.Unlock()
		for _, conn := range open {
			_ = conn.Close()
		}
	}
}

// call opens a stream over gRPC that ends with the test.
func (s *instance) call(t testing.TB, req *getRequest) receiver {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return openGRPC(t, ctx, s.RPCAddr().String(), req)
}

// all receives until the end of a stream that does not follow.
func all(t testing.TB, recv receiver) []*getResponse {
	t.Helper()
	var got []*getResponse
	for {
		r, err := recv()
		if errors.Is(err, io.EOF) {
			require.NotEmpty(t, got)
			require.NotNil(t, got[len(got)-1].GetEnd(), "the last response carries end")
			return got
		}
		require.NoError(t, err)
		got = append(got, r)
	}
}

// until receives up to and including the first response for which done is true.
func until(t testing.TB, recv receiver, done func(*getResponse) bool) []*getResponse {
	t.Helper()
	return untilWithin(t, patience, recv, done)
}

func untilWithin(t testing.TB, patience time.Duration, recv receiver, done func(*getResponse) bool) []*getResponse {
	t.Helper()
	var got []*getResponse
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		r, err := recv()
		require.NoError(t, err)
		got = append(got, r)
		if done(r) {
			return got
		}
	}
	require.Fail(t, "nothing came for too long")
	return nil
}

func isSynced(r *getResponse) bool { return r.GetSynced() != nil }

// lines renders what a stream carried, one line an entry, in order.
func lines(responses ...*getResponse) []string {
	var out []string
	for _, r := range responses {
		for _, ts := range r.GetTimeseries() {
			out = append(out, tsLines(ts)...)
		}
	}
	return out
}

func tsLines(ts *metricsv1.TimeSeries) []string {
	var labels []string
	var name string
	for _, l := range ts.GetLabels() {
		if l.GetName() == "__name__" {
			name = l.GetValue()
			continue
		}
		labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	series := name
	if len(labels) > 0 {
		series += "{" + strings.Join(labels, ",") + "}"
	}
	if ts.GetCoalesced() > 0 {
		series = fmt.Sprintf("(+%d) %s", ts.GetCoalesced(), series)
	}
	var out []string
	for _, s := range ts.GetSamples() {
		line := fmt.Sprintf("%s %v @%d", series, s.GetValue(), s.GetTimestamp())
		if s.GetStartTimestamp() != 0 {
			line += fmt.Sprintf(" from %d", s.GetStartTimestamp())
		}
		out = append(out, line)
	}
	for _, h := range ts.GetHistograms() {
		out = append(out, fmt.Sprintf("%s histogram sum %v @%d", series, h.GetSum(), h.GetTimestamp()))
	}
	for _, e := range ts.GetExemplars() {
		out = append(out, fmt.Sprintf("%s exemplar %v @%d", series, e.GetValue(), e.GetTimestamp()))
	}
	return out
}

func lastCursor(responses []*getResponse) string { return responses[len(responses)-1].GetCursor() }
