package output

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/exemplar"
	promlabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func exemplarOf(v float64, at int64, id string) *metricsv1.Exemplar {
	return &metricsv1.Exemplar{Labels: labels("trace_id", id), Value: v, Timestamp: at}
}

// at sets the timestamp of the only sample of a series.
func at(ts int64, s *metricsv1.TimeSeries) *metricsv1.TimeSeries {
	s.Samples[0].Timestamp = ts
	return s
}

func with(s *metricsv1.TimeSeries, exemplars ...*metricsv1.Exemplar) *metricsv1.TimeSeries {
	s.Exemplars = exemplars
	return s
}

// In a replay each sample gets its own exemplar, in whatever order and entry they
// come.
func TestReplayHasEachExemplarAtItsSample(t *testing.T) {
	const n, every = 20, 15_000
	var samples, apart []*metricsv1.TimeSeries
	want := map[string]string{}
	for i := range n {
		ts := int64(t0 + i*every)
		id := fmt.Sprint("id", i)
		want[fmt.Sprint(ts)] = id
		sample := at(ts, float(float64(i), "__name__", "http_requests_total", "code", "200"))
		if i%2 == 0 {
			sample.Exemplars = []*metricsv1.Exemplar{exemplarOf(1, ts-7, id)}
		} else {
			apart = append(apart, &metricsv1.TimeSeries{Labels: sample.GetLabels(), Exemplars: []*metricsv1.Exemplar{exemplarOf(1, ts-7, id)}})
		}
		samples = append([]*metricsv1.TimeSeries{sample}, samples...)
	}
	var b bytes.Buffer
	o := New("openmetrics", &b, Options{Ordered: true, Metadata: NewMetadata(metricstest.Metadata().GetMetadata())})
	for _, all := range [][]*metricsv1.TimeSeries{apart, samples} {
		require.NoError(t, o.Series(all))
	}
	require.NoError(t, o.Close())
	require.Empty(t, o.Omitted())
	require.Equal(t, want, exemplarsByTime(t, b.String()))
}

// exemplarsByTime returns the trace IDs in a document by their samples' timestamps.
func exemplarsByTime(t *testing.T, text string) map[string]string {
	t.Helper()
	found := map[string]string{}
	p := textparse.NewOpenMetricsParser([]byte(text), promlabels.NewSymbolTable())
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		var e exemplar.Exemplar
		if entry == textparse.EntrySeries && p.Exemplar(&e) {
			_, ts, _ := p.Series()
			found[fmt.Sprint(*ts)] = e.Labels.Get("trace_id")
		}
	}
}

func TestOpenMetricsPoints(t *testing.T) {
	long := strings.Repeat("x", maxExemplar)
	start := func(ts int64, s *metricsv1.TimeSeries) *metricsv1.TimeSeries {
		s.Samples[0].StartTimestamp = ts
		return s
	}
	buckets := &metricsv1.Histogram{
		Count: &metricsv1.Histogram_CountInt{CountInt: 6}, Sum: 8, Schema: -53, StartTimestamp: t0 - 1000,
		PositiveSpans: []*metricsv1.BucketSpan{{Length: 3}}, PositiveDeltas: []int64{1, 1, 1}, CustomValues: []float64{0.5, 2},
	}
	cases := []struct {
		name    string
		series  []*metricsv1.TimeSeries
		want    string
		omitted string
	}{
		{
			"exemplars of buckets",
			[]*metricsv1.TimeSeries{
				with(float(1, "__name__", "latency_seconds_bucket", "le", "2.0"), exemplarOf(1.5, t0-1, "a")),
				with(float(1, "__name__", "latency_seconds_count"), exemplarOf(1.5, t0-1, "a")),
			},
			"latency_seconds_bucket{le=\"2.0\"} 1 1700000000.123 # {trace_id=\"a\"} 1.5 1700000000.122\nlatency_seconds_count 1 1700000000.123\n",
			"1 exemplars of what may have none",
		},
		{
			"exemplars of a native histogram",
			[]*metricsv1.TimeSeries{with(native(buckets, "__name__", "native_custom"),
				exemplarOf(7, t0-1, "c"), exemplarOf(0.5, t0-3, "a"), exemplarOf(1, t0-2, "b"), exemplarOf(1, t0-2, "b"))},
			`native_custom_bucket{le="0.5"} 1 1700000000.123 # {trace_id="a"} 0.5 1700000000.120
native_custom_bucket{le="2.0"} 3 1700000000.123 # {trace_id="b"} 1 1700000000.121
native_custom_bucket{le="+Inf"} 6 1700000000.123 # {trace_id="c"} 7 1700000000.122
native_custom_count 6 1700000000.123
native_custom_sum 8 1700000000.123
native_custom_created 1699999999.123 1700000000.123
`, "",
		},
		{
			"more exemplars than samples",
			[]*metricsv1.TimeSeries{with(float(1, "__name__", "http_requests_total"),
				exemplarOf(1, t0-2, "later"), exemplarOf(1, t0-3, "earlier"), exemplarOf(1, t0-1, long), exemplarOf(1, 0, "any time"))},
			"http_requests_total 1 1700000000.123 # {trace_id=\"later\"} 1 1700000000.121\n",
			"2 exemplars beyond one a sample, 1 exemplars that are too long",
		},
		{
			"an exemplar after the last sample",
			[]*metricsv1.TimeSeries{with(float(1, "__name__", "http_requests_total"), exemplarOf(1, t0+1, "a"))},
			"http_requests_total 1 1700000000.123 # {trace_id=\"a\"} 1 1700000000.124\n", "",
		},
		{
			"created once a point",
			[]*metricsv1.TimeSeries{
				start(t0-1000, float(1, "__name__", "latency_seconds_bucket", "job", "j", "le", "+Inf")),
				start(t0-1000, float(1, "__name__", "latency_seconds_count", "job", "j")),
				start(t0-1000, at(t0+1000, float(2, "__name__", "latency_seconds_count", "job", "j"))),
			},
			`latency_seconds_bucket{job="j",le="+Inf"} 1 1700000000.123
latency_seconds_count{job="j"} 1 1700000000.123
latency_seconds_created{job="j"} 1699999999.123 1700000000.123
latency_seconds_count{job="j"} 2 1700000001.123
latency_seconds_created{job="j"} 1699999999.123 1700000001.123
`, "",
		},
		{
			"created by the sender",
			[]*metricsv1.TimeSeries{
				start(t0-1000, float(1, "__name__", "http_requests_total")), float(1.7e9, "__name__", "http_requests_created"),
				start(t0-1000, float(1, "__name__", "rpc_seconds", "quantile", "0.5")),
			},
			`http_requests_total 1 1700000000.123
http_requests_created 1.7e+09 1700000000.123
rpc_seconds{quantile="0.5"} 1 1700000000.123
rpc_seconds_created 1699999999.123 1700000000.123
`, "",
		},
		{
			"no words",
			[]*metricsv1.TimeSeries{
				start(t0-1000, float(1, "__name__", "up")), float(stale, "__name__", "up"), float(1, "job", "j"),
			},
			"up 1 1700000000.123\n",
			"1 samples of series without a name, 1 stale markers, 1 start timestamps",
		},
	}
	for _, c := range cases {
		for _, ordered := range []bool{true, false} {
			t.Run(fmt.Sprint(c.name, " ordered ", ordered), func(t *testing.T) {
				var b bytes.Buffer
				o := New("openmetrics", &b, Options{Ordered: ordered, Metadata: NewMetadata(metricstest.Metadata().GetMetadata())})
				require.NoError(t, o.Series(c.series))
				require.NoError(t, o.Close())
				exemplarsByTime(t, b.String()) // parses
				var lines []string
				for line := range strings.Lines(b.String()) {
					if !strings.HasPrefix(line, "# ") {
						lines = append(lines, line)
					}
				}
				if ordered {
					require.Equal(t, c.want, strings.Join(lines, ""))
				} else {
					require.ElementsMatch(t, slices.Collect(strings.Lines(c.want)), lines)
				}
				require.Equal(t, c.omitted, o.Omitted())
			})
		}
	}
}
