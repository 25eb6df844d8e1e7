package server_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/server"
)

// unary are the ways to make a unary call.
var unary = map[string][]connect.ClientOption{
	"connect": nil, "grpcweb": {connect.WithGRPCWeb()}, "grpc": {connect.WithGRPC()}, "connect json": {connect.WithProtoJSON()},
}

// A request that stops coming costs its connection, whatever it is for and however much
// of it came.
func TestSlowRequestsAreCutOff(t *testing.T) {
	c := testConfig(t)
	c.RequestTimeout = 200 * time.Millisecond
	s := start(t, c)
	const head = " HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\nContent-Type: "
	for name, sent := range map[string]string{
		"nothing":            "",
		"part of a preface":  http2.ClientPreface[:10],
		"a preface":          http2.ClientPreface,
		"part of a header":   "GET / HTTP/1.1\r\nHost: te",
		"part of a call":     "POST " + metricsv1connect.MetricsServiceGetLabelNamesProcedure + head + "application/json\r\n\r\n{",
		"part of a grpc-web": "POST " + metricsv1connect.MetricsServiceGetLabelNamesProcedure + head + "application/grpc-web+proto\r\n\r\n\x00",
		"part of a stream":   "POST " + metricsv1connect.MetricsServiceGetMetricsProcedure + head + "application/connect+proto\r\n\r\n\x00",
		"a body for a page":  "GET /" + head + "text/plain\r\n\r\nx",
		"for nothing":        "POST /nowhere" + head + "text/plain\r\n\r\nx",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.RPCAddr().String())
			require.NoError(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, sent)
			require.NoError(t, err)
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
			_, err = io.Copy(io.Discard, conn)
			require.NotErrorIs(t, err, context.DeadlineExceeded, "the server closes it")
			var timeout net.Error
			require.NotErrorAs(t, err, &timeout)
		})
	}
	client, stop := httpClient(true)
	defer stop()
	for path, kind := range map[string]string{
		metricsv1connect.MetricsServiceGetLabelNamesProcedure: "application/proto",
		metricsv1connect.MetricsServiceGetStatusProcedure:     "application/grpc",
		metricsv1connect.MetricsServiceGetMetricsProcedure:    "application/grpc",
	} {
		body, writer := io.Pipe()
		go func() { _, _ = writer.Write([]byte{0}) }()
		r, err := client.Post("http://"+s.RPCAddr().String()+path, kind, body)
		if err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			require.NoError(t, r.Body.Close())
		}
		require.NoError(t, writer.Close())
	}
	require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_call_bytes") == 0 }, patience, time.Millisecond)
}

// atTheDoor are requests of HTTP/1 that are refused, or answered, before they are calls.
func atTheDoor(t *testing.T, test func(t *testing.T, s *instance, head string)) {
	const (
		call   = "POST " + metricsv1connect.MetricsServiceGetStatusProcedure + " HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
		origin = "Origin: http://example.org\r\n"
	)
	users, policies := newCerts(t).config(rpcUsers), restricted(t, twoTeams)
	open, cors := testConfig(t), testConfig(t)
	cors.CORSOrigins = []string{"http://example.org"}
	for name, at := range map[string]struct {
		config server.Config
		head   string
	}{
		"no password":              {users, call},
		"no password for the page": {users, "POST / HTTP/1.1\r\nHost: test\r\n"},
		"no token":                 {policies, call},
		"a stream without a token": {policies, strings.Replace(call, "GetStatus", "GetMetrics", 1)},
		"another origin":           {open, call + origin},
		"health of another origin": {open, "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n" + origin},
		"by another name":          {open, strings.Replace(call, "Host: test", "Host: example.org", 1)},
		"before what a page sends": {cors, "OPTIONS / HTTP/1.1\r\nHost: test\r\nAccess-Control-Request-Method: POST\r\n" + origin},
		"of the server as a whole": {open, "OPTIONS * HTTP/1.1\r\nHost: test\r\n"},
	} {
		c := at.config
		c.StoragePath = t.TempDir()
		// The kernel finds a little more room at every probe of a window that is closed, the
		// first of which comes after 200 ms.
		c.RequestTimeout, c.StallTimeout = 200*time.Millisecond, 50*time.Millisecond
		t.Run(name, func(t *testing.T) { test(t, start(t, c), at.head) })
	}
}

// Who is refused has as long for the rest of the request as others.
func TestRefusedRequestsAreCutOff(t *testing.T) {
	atTheDoor(t, func(t *testing.T, s *instance, head string) {
		conn, err := net.Dial("tcp", s.RPCAddr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, head+"Content-Length: 1000\r\n\r\n{")
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		_, err = io.Copy(io.Discard, conn)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the server closes it")
	})
}

// Who takes no answers of refusals is cut off.
func TestRefusalsThatNobodyTakes(t *testing.T) {
	atTheDoor(t, func(t *testing.T, s *instance, head string) {
		var conn net.Conn
		require.Eventually(t, func() (refused bool) {
			var err error
			conn, err = net.Dial("tcp", s.RPCAddr().String())
			require.NoError(t, err)
			_, err = io.WriteString(conn, head+"Content-Length: 0\r\n\r\n")
			if err == nil {
				_, err = conn.Read(make([]byte, 1))
			}
			if err != nil {
				_ = conn.Close() // Where the machine is slow, the time for a request may have ended.
			}
			return err == nil
		}, patience, time.Millisecond)
		var sending sync.WaitGroup
		defer sending.Wait()
		defer conn.Close()
		sending.Go(func() {
			many := []byte(strings.Repeat(head+"Content-Length: 0\r\n\r\n", 1000))
			for err := error(nil); err == nil; {
				_, err = conn.Write(many)
			}
		})
		require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_connections") == 0 }, patience, 10*time.Millisecond)
	})
}

// A stream's client may be silent after its request.
func TestSilentAfterTheRequest(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	c := testConfig(t)
	c.RequestTimeout = 100 * time.Millisecond
	s := startFed(t, c, src)
	var open []receiver
	for _, p := range protocols {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true})
		until(t, recv, isSynced)
		open = append(open, recv)
	}
	time.Sleep(3 * c.RequestTimeout)
	src.write(point{series: "a", t: 2, v: 2})
	for _, recv := range open {
		got := until(t, recv, func(r *getResponse) bool { return len(r.GetTimeseries()) > 0 })
		require.Equal(t, []string{"a 2 @2"}, lines(got...))
	}
}

// A request that is too large, or would be when it is inflated, is refused with
// the limit's name, over each protocol and as a GET.
func TestRequestsThatAreTooLarge(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	c := testConfig(t)
	c.RequestBytes = 16 << 10
	s := startFed(t, c, src)
	large := strings.Repeat("x", int(c.RequestBytes))
	refused := 0.0
	check := func(t *testing.T, err error) {
		t.Helper()
		requireCode(t, connect.CodeResourceExhausted, err)
		require.ErrorContains(t, err, "--limit.call-request-bytes")
		refused++
		require.Equal(t, refused, s.metricOf(t, "promgrpc_server_over_limit_total", "call-request-bytes"))
	}
	for name, o := range unary {
		t.Run(name, func(t *testing.T) {
			for _, o := range [][]connect.ClientOption{o, append(o, connect.WithSendGzip())} {
				client := connectClient(t, s.RPCAddr().String(), true, o...)
				_, err := client.GetLabelValues(t.Context(), connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: large}))
				check(t, err)
				stream, err := client.GetMetrics(t.Context(), connect.NewRequest(&getRequest{Selectors: []string{large}}))
				require.NoError(t, err)
				require.False(t, stream.Receive())
				check(t, stream.Err())
				require.NoError(t, stream.Close())
			}
		})
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err := w.Write(make([]byte, 1000*int(c.RequestBytes)))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	query := url.Values{
		"connect": {"v1"}, "encoding": {"proto"}, "compression": {"gzip"}, "base64": {"1"},
		"message": {base64.URLEncoding.EncodeToString(packed.Bytes())},
	}
	get, err := client.Get("http://" + s.RPCAddr().String() + metricsv1connect.MetricsServiceGetLabelValuesProcedure + "?" + query.Encode())
	require.NoError(t, err)
	told, err := io.ReadAll(get.Body)
	require.NoError(t, err)
	require.NoError(t, get.Body.Close())
	require.Equal(t, http.StatusTooManyRequests, get.StatusCode)
	require.Contains(t, string(told), "--limit.call-request-bytes")

	body := &endless{}
	r, err := client.Post("http://"+s.RPCAddr().String()+metricsv1connect.MetricsServiceGetStatusProcedure, "application/proto", body)
	if err == nil {
		require.NoError(t, r.Body.Close())
		require.Equal(t, http.StatusTooManyRequests, r.StatusCode)
	}
	require.Less(t, body.read.Load(), int64(100<<20), "it is not read on in order to tell how large it is")
}

// endless is a body of a gigabyte.
type endless struct{ read atomic.Int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.read.Add(int64(len(p))) > 1<<30 {
		return 0, io.EOF
	}
	return len(p), nil
}

// Requests under way hold room for what they may become. A request that finds none is
// told to retry, and finds it when the others are gone.
func TestCallBytes(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	c := testConfig(t)
	s := startFed(t, c, src)
	address := s.RPCAddr().String()
	client, stop := httpClient(true)
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	share := float64(int(c.CallBytes) * c.PeerShare / 100)
	for held := 0.0; held+4*float64(c.RequestBytes) < share; {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+metricsv1connect.MetricsServiceGetMetricsProcedure, blocked{ctx})
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Grpc-Encoding", "gzip")
		go func() {
			if r, err := client.Do(req); err == nil {
				_ = r.Body.Close()
			}
		}()
		before := held
		require.Eventually(t, func() bool { held = s.metric(t, "promgrpc_server_call_bytes"); return held > before }, patience, time.Millisecond)
	}
	for name, o := range unary {
		t.Run(name, func(t *testing.T) {
			caller := connectClient(t, address, true, append(o, connect.WithSendGzip())...)
			_, err := caller.GetLabelNames(t.Context(), connect.NewRequest(&metricsv1.GetLabelNamesRequest{Selectors: []string{"a"}}))
			requireCode(t, connect.CodeResourceExhausted, err)
			require.ErrorContains(t, err, "--limit.call-bytes")
			require.NotNil(t, detail[*errdetails.RetryInfo](t, err).GetRetryDelay())
		})
	}
	require.Equal(t, float64(len(unary)), s.metricOf(t, "promgrpc_server_over_limit_total", "call-bytes"))
	cancel()
	require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_call_bytes") == 0 }, patience, time.Millisecond)
	for _, o := range unary {
		_, err := connectClient(t, address, true, append(o, connect.WithSendGzip())...).
			GetLabelNames(t.Context(), connect.NewRequest(&metricsv1.GetLabelNamesRequest{}))
		require.NoError(t, err)
	}
}

// blocked is a body that never comes.
type blocked struct{ ctx context.Context }

func (b blocked) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}
