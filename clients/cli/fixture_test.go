package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

var update = flag.Bool("update", false, "write the golden files")

// asProgram is set where the tests' binary is to be the program.
const asProgram = "PROMGRPC_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main())
	}
	goleak.VerifyTestMain(m)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

const t0 = 1_700_000_000_123

func labels(pairs ...string) (out []*metricsv1.Label) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, &metricsv1.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

func float(v float64, pairs ...string) *metricsv1.TimeSeries {
	return &metricsv1.TimeSeries{
		Labels:  labels(pairs...),
		Samples: []*metricsv1.Sample{{Value: v, Timestamp: t0}},
	}
}

func native(h *metricsv1.Histogram, pairs ...string) *metricsv1.TimeSeries {
	h.Timestamp = t0
	return &metricsv1.TimeSeries{Labels: labels(pairs...), Histograms: []*metricsv1.Histogram{h}}
}

var stale = math.Float64frombits(value.StaleNaN)

// fixture has a series of each kind that the outputs treat in their own way.
func fixture() []*metricsv1.TimeSeries {
	counter := float(42, "__name__", "http_requests_total", "code", "200")
	counter.Samples[0].StartTimestamp = t0 - 60_000
	counter.Coalesced = 3
	counter.Exemplars = []*metricsv1.Exemplar{{Labels: labels("trace_id", "abc\"\\"), Value: 0.5, Timestamp: t0 - 1}}
	span := func(offset int32, length uint32) []*metricsv1.BucketSpan {
		return []*metricsv1.BucketSpan{{Offset: offset, Length: length}}
	}
	return []*metricsv1.TimeSeries{
		float(1, "__name__", "up", "instance", "localhost:9090", "job", "a \"quoted\" \\ name\nof two lines"),
		float(math.NaN(), "__name__", "up", "instance", "nan", "job", "ä"),
		float(math.Inf(1), "__name__", "up", "instance", "inf", "job", "x"),
		float(math.Inf(-1), "__name__", "up", "instance", "ninf", "job", "x"),
		float(stale, "__name__", "up", "instance", "gone", "job", "x"),
		float(math.Copysign(0, -1), "__name__", "zero"),
		float(1.5e-9, "__name__", "small"),
		float(123456789012, "__name__", "large"),
		float(7, "__name__", "dotted.name", "label.name", "v", "plain", "p"),
		counter,
		float(9, "__name__", "legacy_counter"),
		float(1, "__name__", "rpc_seconds", "quantile", "0.9"),
		float(3, "__name__", "rpc_seconds_sum"),
		float(2, "__name__", "rpc_seconds_count"),
		float(5, "__name__", "latency_seconds_count", "job", "b"),
		float(5, "__name__", "latency_seconds_bucket", "job", "b", "le", "+Inf"),
		float(4, "__name__", "latency_seconds_bucket", "job", "b", "le", "10.0"),
		float(1, "__name__", "latency_seconds_bucket", "job", "b", "le", "2.0"),
		float(12.5, "__name__", "latency_seconds_sum", "job", "b"),
		native(&metricsv1.Histogram{
			Count: &metricsv1.Histogram_CountInt{CountInt: 10}, Sum: 18.4, Schema: 1, ZeroThreshold: 0.001,
			ZeroCount:     &metricsv1.Histogram_ZeroCountInt{ZeroCountInt: 2},
			PositiveSpans: span(0, 3), PositiveDeltas: []int64{1, 2, -1},
			NegativeSpans: span(-1, 1), NegativeDeltas: []int64{2},
		}, "__name__", "native_int", "job", "n"),
		native(&metricsv1.Histogram{
			Count: &metricsv1.Histogram_CountFloat{CountFloat: 3.5}, Sum: 4, Schema: 0,
			ZeroCount:     &metricsv1.Histogram_ZeroCountFloat{ZeroCountFloat: 0},
			PositiveSpans: span(0, 2), PositiveCounts: []float64{1.5, 2},
			ResetHint: metricsv1.Histogram_RESET_HINT_GAUGE,
		}, "__name__", "native_float_gauge"),
		native(&metricsv1.Histogram{
			Count: &metricsv1.Histogram_CountInt{CountInt: 6}, Sum: 8, Schema: -53,
			PositiveSpans: span(0, 3), PositiveDeltas: []int64{1, 1, 1},
			CustomValues: []float64{0.5, 2}, StartTimestamp: t0 - 1000,
		}, "__name__", "native_custom"),
		native(&metricsv1.Histogram{Count: &metricsv1.Histogram_CountInt{}, Sum: stale}, "__name__", "native_stale"),
		native(&metricsv1.Histogram{
			Count: &metricsv1.Histogram_CountInt{CountInt: 6}, PositiveSpans: span(0, 4), PositiveDeltas: []int64{1},
		}, "__name__", "native_broken"),
	}
}

func metadata() *metricsv1.GetMetadataResponse {
	m := func(name string, kind metricsv1.MetricType, unit, help string) *metricsv1.MetricMetadata {
		return &metricsv1.MetricMetadata{MetricFamilyName: name, Type: kind, Unit: unit, Help: help}
	}
	return &metricsv1.GetMetadataResponse{Metadata: []*metricsv1.MetricMetadata{
		m("http_requests_total", metricsv1.MetricType_METRIC_TYPE_COUNTER, "", "Requests."),
		m("latency_seconds", metricsv1.MetricType_METRIC_TYPE_HISTOGRAM, "seconds", "Line one\nand \"two\" \\"),
		m("legacy_counter", metricsv1.MetricType_METRIC_TYPE_COUNTER, "", "A counter without suffix."),
		m("native_int", metricsv1.MetricType_METRIC_TYPE_HISTOGRAM, "", ""),
		m("rpc_seconds", metricsv1.MetricType_METRIC_TYPE_SUMMARY, "bytes", "Unit and name differ."),
		m("up", metricsv1.MetricType_METRIC_TYPE_GAUGE, "", "Whether it is."),
	}}
}

func end(cursor string) *metricsv1.GetMetricsResponse {
	return &metricsv1.GetMetricsResponse{Cursor: cursor, Event: &metricsv1.GetMetricsResponse_End{End: &metricsv1.End{}}}
}

// snapshot serves the fixture.
func snapshot() *metricstest.Server {
	return &metricstest.Server{
		Metadata: metadata(),
		Script: func(_ context.Context, call *metricstest.Call) error {
			if err := call.Send(&metricsv1.GetMetricsResponse{Timeseries: fixture(), Cursor: "c1"}); err != nil {
				return err
			}
			return call.Send(end("c2"))
		},
	}
}

// following sends one sample and is quiet then.
func following() *metricstest.Server {
	return &metricstest.Server{Script: func(ctx context.Context, call *metricstest.Call) error {
		if err := call.Send(&metricsv1.GetMetricsResponse{
			Timeseries: []*metricsv1.TimeSeries{float(1, "__name__", "up")}, Cursor: "c1",
			Event: &metricsv1.GetMetricsResponse_Synced{Synced: &metricsv1.Synced{}},
		}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}}
}

// mortal is a server that dies of every stream, and is back at once.
type mortal struct{ metricstest.Server }

func (m *mortal) start(t *testing.T) string {
	m.Status = &metricsv1.GetStatusResponse{Uptime: durationpb.New(0)}
	m.Script = func(ctx context.Context, _ *metricstest.Call) error {
		go m.Cut()
		<-ctx.Done()
		return ctx.Err()
	}
	return m.Start(t)
}

// refusing is an address that nobody answers at. It stays so, since the port is
// taken.
func refusing(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err := unix.Getsockname(fd)
	require.NoError(t, err)
	return fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
}

// result of a run of the program.
type result struct {
	code           int
	stdout, stderr string
}

func runCLI(t *testing.T, ctx context.Context, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var stdout, stderr buffer
	code := run(ctx, args, environment{stdout: &stdout, stderr: &stderr})
	return result{code, stdout.String(), stderr.String()}
}

// buffer may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
