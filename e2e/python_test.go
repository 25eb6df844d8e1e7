//go:build debian

package e2e

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"connectrpc.com/connect"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// TestPython runs the example of clients/python: what it prints is what the
// client prints, and its stream survives what happens to servers and to itself.
func TestPython(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{})
	hard := hardSeries()
	write(t, cluster, hard...)
	awaitSeries(t, cluster, `{job="hard"}`, len(hard)-1) // One has gone stale.

	for name, args := range map[string][]string{"latest": nil, "since": {"--since=3600"}} {
		t.Run(name, func(t *testing.T) {
			clientArgs := []string{`{job="hard"}`}
			if args != nil {
				clientArgs = append(clientArgs, "--since=1h")
			}
			want := harness.GetJSON(t, cluster.RPC(0), "grpc", clientArgs...)
			code, stdout, stderr := followPython(t, append(args, "--address="+cluster.RPC(0), `{job="hard"}`)...)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			got := harness.ParseJSON(t, stdout)
			harness.Equal(t, "samples", roundBounds(want.Points), roundBounds(got.Points))
			harness.Equal(t, "exemplars", want.Exemplars, got.Exemplars)
		})
	}
	t.Run("failover", func(t *testing.T) { testPythonFailover(t, cluster) })
	t.Run("errors", func(t *testing.T) { testPythonErrors(t, cluster) })
	t.Run("retry", testPythonComesAgain)
	t.Run("moves", testPythonMoves)
	t.Run("starts", testPythonStarts)
	t.Run("terminal", testPythonTerminal)
	t.Run("one run", testPythonOneRun)
}

// full is a server that has room when it is called again.
type full struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
	calls chan time.Time
}

const fullFor = 2 * time.Second

func (f full) GetMetrics(_ context.Context, _ *connect.Request[metricsv1.GetMetricsRequest], stream *connect.ServerStream[metricsv1.GetMetricsResponse]) error {
	f.calls <- time.Now()
	if len(f.calls) > 1 {
		return stream.Send(&metricsv1.GetMetricsResponse{Event: &metricsv1.GetMetricsResponse_End{End: &metricsv1.End{}}})
	}
	detail, err := connect.NewErrorDetail(&errdetails.RetryInfo{RetryDelay: durationpb.New(fullFor)})
	if err != nil {
		return err
	}
	refusal := connect.NewError(connect.CodeResourceExhausted, errors.New("full"))
	refusal.AddDetail(detail)
	return refusal
}

// testPythonComesAgain has the example wait for as long as a server asks it to.
func testPythonComesAgain(t *testing.T) {
	f := full{calls: make(chan time.Time, 10)}
	if code, _, stderr := followPython(t, "--address="+serveScript(t, f)); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if n := len(f.calls); n != 2 {
		t.Fatalf("%d calls, want 2", n)
	}
	if first, second := <-f.calls, <-f.calls; second.Sub(first) < fullFor {
		t.Errorf("the second call came after %s, and was asked for after %s", second.Sub(first), fullFor)
	}
}

// serveScript serves what is no real server, until the test ends.
func serveScript(t *testing.T, script metricsv1connect.MetricsServiceHandler) (address string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(metricsv1connect.NewMetricsServiceHandler(script))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// aging is a server that ends its first streams for their age.
type aging struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
	cursors chan string
}

const agingStreams = 5

func (a aging) GetMetrics(_ context.Context, req *connect.Request[metricsv1.GetMetricsRequest], stream *connect.ServerStream[metricsv1.GetMetricsResponse]) error {
	a.cursors <- req.Msg.GetCursor()
	number := len(a.cursors)
	response := &metricsv1.GetMetricsResponse{Event: &metricsv1.GetMetricsResponse_Heartbeat{Heartbeat: &metricsv1.Heartbeat{}}}
	if number > agingStreams {
		response.Event = &metricsv1.GetMetricsResponse_End{End: &metricsv1.End{}}
	}
	if err := stream.Send(response); err != nil || number > agingStreams {
		return err
	}
	detail, err := connect.NewErrorDetail(&metricsv1.StreamInterrupted{
		Cursor: strconv.Itoa(number), Reason: metricsv1.StreamInterrupted_REASON_MAX_AGE,
	})
	if err != nil {
		return err
	}
	end := connect.NewError(connect.CodeUnavailable, errors.New("of age"))
	end.AddDetail(detail)
	return end
}

// testPythonMoves has the example go on where streams get old, without a word.
func testPythonMoves(t *testing.T) {
	a := aging{cursors: make(chan string, agingStreams+2)}
	code, _, stderr := followPython(t, "--follow", "--address="+serveScript(t, a))
	if code != 0 || len(stderr) != 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	close(a.cursors)
	number := 0
	for cursor := range a.cursors {
		if want := strconv.Itoa(number); number > 0 && cursor != want {
			t.Errorf("stream %d began at the cursor %q, want %q", number+1, cursor, want)
		}
		number++
	}
	if number != agingStreams+1 {
		t.Errorf("%d streams, want %d", number, agingStreams+1)
	}
}

// started is a server that knows since when its samples count.
type started struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
}

func (started) GetMetrics(_ context.Context, _ *connect.Request[metricsv1.GetMetricsRequest], stream *connect.ServerStream[metricsv1.GetMetricsResponse]) error {
	return stream.Send(&metricsv1.GetMetricsResponse{
		Timeseries: []*metricsv1.TimeSeries{{
			Samples:    []*metricsv1.Sample{{Timestamp: 2, Value: 1, StartTimestamp: 1}, {Timestamp: 3, Value: 1}},
			Histograms: []*metricsv1.Histogram{{Timestamp: 2, StartTimestamp: 1}},
		}},
		Event: &metricsv1.GetMetricsResponse_End{End: &metricsv1.End{}},
	})
}

// testPythonStarts has the example print start timestamps as the client does.
func testPythonStarts(t *testing.T) {
	code, stdout, stderr := followPython(t, "--address="+serveScript(t, started{}))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if n := strings.Count(string(stdout), `"start_timestamp": 1`); n != 2 {
		t.Errorf("%d start timestamps, want 2:\n%s", n, stdout)
	}
}

// hostile is a server with a label that would control a terminal, and a selector that
// it refuses in the same words.
type hostile struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
}

const hostileText = "\x1b]0;title\x07\u009b2J\u202eé\u200b\x7f"

func (hostile) GetMetrics(_ context.Context, req *connect.Request[metricsv1.GetMetricsRequest], stream *connect.ServerStream[metricsv1.GetMetricsResponse]) error {
	if len(req.Msg.GetSelectors()) > 0 {
		return connect.NewError(connect.CodeInvalidArgument, errors.New(hostileText))
	}
	return stream.Send(&metricsv1.GetMetricsResponse{
		Timeseries: []*metricsv1.TimeSeries{{
			Labels:  []*metricsv1.Label{{Name: "job", Value: hostileText}},
			Samples: []*metricsv1.Sample{{Timestamp: 1, Value: 1}},
		}},
		Event: &metricsv1.GetMetricsResponse_End{End: &metricsv1.End{}},
	})
}

// testPythonTerminal has the example print to a terminal what would control it, and to
// a pipe what came.
func testPythonTerminal(t *testing.T) {
	address := "--address=" + serveScript(t, hostile{})
	for _, args := range [][]string{{address}, {address, "up"}} {
		_, stdout, stderr := followPython(t, args...)
		if text := append(stdout, stderr...); !strings.Contains(string(text), "\u202eé\u200b\x7f") {
			t.Errorf("a pipe got %q", text)
		}
		python, env := harness.Python(t)
		p := harness.StartEnv(t, "terminal", env, python,
			append([]string{"-c", "import pty, sys; pty.spawn(sys.argv[1:])", python, harness.File("clients/python/follow.py")}, args...)...)
		p.Wait(time.Minute)
		contains(t, p.Stdout().Bytes(), `\u001b]0;title\u0007\u009b2J\u202eé\u200b\u007f`)
		for _, r := range string(p.Stdout().Bytes()) {
			if r != '\r' && r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("a terminal got %q in %q", r, p.Stdout().Bytes())
				break
			}
		}
	}
}

// quiet is a server whose followers get one response.
type quiet struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
}

func (quiet) GetMetrics(ctx context.Context, req *connect.Request[metricsv1.GetMetricsRequest], stream *connect.ServerStream[metricsv1.GetMetricsResponse]) error {
	if !req.Msg.GetFollow() {
		return stream.Send(&metricsv1.GetMetricsResponse{Cursor: "c2", Event: &metricsv1.GetMetricsResponse_End{End: &metricsv1.End{}}})
	}
	if err := stream.Send(&metricsv1.GetMetricsResponse{Cursor: "c1"}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// testPythonOneRun starts the example twice with one cursor file.
func testPythonOneRun(t *testing.T) {
	python, env := harness.Python(t)
	cursor := filepath.Join(t.TempDir(), "cursor")
	args := []string{"--address=" + serveScript(t, quiet{}), "--heartbeat=3600", "--cursor-file=" + cursor}
	saved := func(want string) bool {
		b, _ := os.ReadFile(cursor)
		return string(b) == want
	}
	first := harness.StartEnv(t, "python", env, python, append([]string{harness.File("clients/python/follow.py"), "--follow"}, args...)...)
	harness.Eventually(t, "a cursor", func() bool { return saved("c1\n") })
	code, _, stderr := followPython(t, args...)
	if code != 1 || !saved("c1\n") {
		t.Errorf("exit code %d of a second run", code)
	}
	contains(t, stderr, "another run uses it")
	first.Kill()
	if code, _, stderr := followPython(t, args...); code != 0 || !saved("c2\n") {
		t.Errorf("exit code %d after the first run was killed: %s", code, stderr)
	}
}

// testPythonFailover takes each server away in another manner, and the example
// itself too. In the end it has every sample once.
func testPythonFailover(t *testing.T, cluster *harness.Cluster) {
	python, env := harness.Python(t)
	cursor := filepath.Join(t.TempDir(), "cursor")
	follower := harness.NewFollower(t, harness.StartEnv(t, "python", env, python, harness.File("clients/python/follow.py"),
		"--address="+cluster.RPCs(), "--follow", "--since=3600", "--heartbeat=1", "--cursor-file="+cursor, `{job="python"}`))
	sender := harness.NewSender(t, cluster.WriteURL(), "python", 20)
	sender.Start(50 * time.Millisecond)
	// await waits for samples that are sent from now on.
	await := func(what string) {
		t.Helper()
		before := len(sender.Acknowledged())
		harness.Eventually(t, "samples to be sent", func() bool { return len(sender.Acknowledged()) > before+200 })
		want := sender.Acknowledged()
		harness.Eventually(t, what, func() bool { return follower.Points().Missing(want) == 0 })
	}
	await("both servers up")

	cluster.Servers[0].Kill()
	await("server 1 killed")
	cluster.Servers[0].Restart()
	cluster.Ready()

	if code := cluster.Servers[1].Terminate(20 * time.Second); code != 0 {
		t.Errorf("server 2 ended with the code %d", code)
	}
	await("server 2 drained")
	cluster.Servers[1].Restart()
	cluster.Ready()

	for _, server := range cluster.Servers {
		server.Signal(syscall.SIGSTOP)
		await(server.Name + " is silent")
		server.Signal(syscall.SIGCONT)
	}
	contains(t, follower.Stderr().Bytes(), "no heartbeat")

	if code := follower.Terminate(20 * time.Second); code != 0 {
		t.Errorf("the example ended with the code %d", code)
	}
	follower.Restart()
	await("the example was started again")

	sender.Stop()
	harness.Eventually(t, "all sent", func() bool { return follower.Points().Missing(sender.Acknowledged()) == 0 })
	harness.Equal(t, "python", sender.Acknowledged(), follower.Points())
	if code := follower.Terminate(20 * time.Second); code != 0 {
		t.Errorf("the example ended with the code %d", code)
	}
}

// testPythonErrors has the example say what is wrong.
func testPythonErrors(t *testing.T, cluster *harness.Cluster) {
	other := harness.NewCluster(t, harness.Options{Servers: 1})
	write(t, other, series(map[string]string{"__name__": "other"}, 1))
	awaitSeries(t, other, "other", 1)
	cursor := filepath.Join(t.TempDir(), "cursor")
	if code, _, stderr := followPython(t, "--address="+other.RPC(0), "--cursor-file="+cursor); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	dead := cluster.Servers[0]
	dead.Kill()
	alive := "--address=" + cluster.RPC(1)
	for name, c := range map[string]struct {
		args   []string
		code   int
		stderr []string
	}{
		"selector":    {[]string{alive, `up{`}, 1, []string{"INVALID_ARGUMENT", `up{`}},
		"cursor":      {[]string{alive, "--cursor-file=" + cursor}, 4, []string{"OUT_OF_RANGE", "oldest cursor that works is "}},
		"limit":       {[]string{alive, "--follow", `{x=~"` + strings.Repeat(".{900}", 100) + `"}`}, 1, []string{"RESOURCE_EXHAUSTED", "--limit.selector-size"}},
		"unreachable": {[]string{"--address=" + cluster.RPC(0)}, 3, []string{"cannot reach", cluster.RPC(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := followPython(t, c.args...)
			if code != c.code || len(stdout) != 0 {
				t.Errorf("exit code %d, want %d; printed %q", code, c.code, stdout)
			}
			contains(t, stderr, c.stderr...)
		})
	}
}

// followPython runs the example to its end.
func followPython(t *testing.T, args ...string) (code int, stdout, stderr []byte) {
	t.Helper()
	python, env := harness.Python(t)
	p := harness.StartEnv(t, "python", env, python, append([]string{harness.File("clients/python/follow.py")}, args...)...)
	code = p.Wait(time.Minute)
	return code, p.Stdout().Bytes(), p.Stderr().Bytes()
}

var number = regexp.MustCompile(`\d+(\.\d+)?(e[-+]\d+)?`)

// roundBounds rounds the numbers of histograms: Prometheus takes the bounds of
// buckets from a table whose last digits are not those of the powers of 2.
func roundBounds(points harness.Points) harness.Points {
	rounded := harness.Points{}
	for point, n := range points {
		if strings.HasPrefix(point.Value, "histogram") {
			point.Value = number.ReplaceAllStringFunc(point.Value, func(text string) string {
				v, err := strconv.ParseFloat(text, 64)
				if err != nil {
					return text
				}
				return strconv.FormatFloat(v, 'g', 13, 64)
			})
		}
		rounded[point] += n
	}
	return rounded
}

// hardSeries have the values that are hard to carry and to print, the last of
// them a series that has gone stale.
func hardSeries() []prompb.TimeSeries {
	var list []prompb.TimeSeries
	labels := func(name, what string) map[string]string {
		return map[string]string{"__name__": name, "job": "hard", "what": what}
	}
	now := time.Now().UnixMilli()
	for i, v := range []float64{
		math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.SmallestNonzeroFloat64, math.MaxFloat64,
		1.0 / 3, 1 << 53, 1e21, 9.99e20, 1e-6, 9.9e-7, -1e-7, 123456789012, 0.1, 42,
	} {
		list = append(list, series(labels("hard_value", strconv.Itoa(i)), v))
	}
	exemplar := series(labels("hard_total", "été \"quoted\" \\ back\nnew line\ttab 🚀"), 1)
	exemplar.Exemplars = []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "ä\"1"}}, Value: 0.25, Timestamp: now}}
	list = append(list, exemplar)
	for schema := int32(-4); schema <= 8; schema++ {
		s := series(labels("hard_histogram", strconv.Itoa(int(schema))), 0)
		s.Samples = nil
		s.Histograms = []prompb.Histogram{wideHistogram(schema, now)}
		list = append(list, s)
	}
	floats := series(labels("hard_histogram", "float"), 0)
	floats.Samples = nil
	floats.Histograms = []prompb.Histogram{{
		Count: &prompb.Histogram_CountFloat{CountFloat: 3.75}, Sum: -1.0 / 3, Schema: 2, ZeroThreshold: 1.1,
		ZeroCount:      &prompb.Histogram_ZeroCountFloat{ZeroCountFloat: 0.25},
		PositiveSpans:  []prompb.BucketSpan{{Offset: 1, Length: 2}},
		PositiveCounts: []float64{1.5, 2}, Timestamp: now, ResetHint: prompb.Histogram_GAUGE,
	}}
	stale := series(labels("hard_value", "stale"), math.Float64frombits(value.StaleNaN))
	return append(list, floats, stale)
}

// wideHistogram has buckets of both signs, from the smallest to the largest
// that the schema can have observations in.
func wideHistogram(schema int32, timestamp int64) prompb.Histogram {
	h := prompb.Histogram{
		Schema: schema, Sum: 1.5, Timestamp: timestamp, ZeroThreshold: math.Ldexp(1, -128),
		ZeroCount: &prompb.Histogram_ZeroCountInt{ZeroCountInt: 7},
	}
	lowest, highest := int32(-1000), int32(1024)
	if schema < 0 {
		lowest, highest = lowest>>-schema, highest>>-schema
	} else {
		lowest, highest = lowest<<schema, highest<<schema
	}
	// All buckets of one doubling in the middle, so that each fraction occurs.
	middle := uint32(1)
	if schema > 0 {
		middle = 1 << schema
	}
	spans := []prompb.BucketSpan{{Offset: lowest, Length: 1}, {Offset: -lowest - 1, Length: middle}, {Offset: highest - int32(middle), Length: 1}}
	deltas := make([]int64, middle+2)
	deltas[0] = 1
	h.PositiveSpans, h.PositiveDeltas = spans, deltas
	h.NegativeSpans, h.NegativeDeltas = spans, deltas
	h.Count = &prompb.Histogram_CountInt{CountInt: 2*uint64(len(deltas)) + 7}
	return h
}
