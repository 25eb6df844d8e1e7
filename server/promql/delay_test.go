package promql

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/chunk"
)

// arrival is a sample in a block of a log.
type arrival struct {
	sampleOf
	block int64 // its time
}

func (a *arrival) at() int64 { return chunk.Arrival(a.timestamp, chunk.Lag(a.timestamp, a.block)) }

// begun is when random logs begin, in ms.
const begun = 1_000_000

// randomLog is samples as they arrive: late ones, repeated ones, of all kinds, of series
// that come and go.
func randomLog(r *rand.Rand, blocks int) (all []arrival) {
	now := int64(begun)
	counters := map[string]float64{}
	for range blocks {
		now += int64(r.IntN(4000))
		for range r.IntN(6) {
			name, instance := []string{"c", "g", "h", "hc"}[r.IntN(4)], r.IntN(4)
			key := keyOf(labels.FromStrings(model.MetricNameLabel, name, "job", fmt.Sprint(instance%2), "instance", fmt.Sprint(instance), "pod", fmt.Sprint(now/40_000)))
			a := arrival{sampleOf{key, now - int64(r.IntN(1500)), 0, nil}, now}
			switch r.IntN(8) {
			case 0:
				a.timestamp -= int64(r.IntN(60_000)) // late
			case 1:
				a.timestamp = now + int64(r.IntN(1000))
			case 2:
				if len(all) > 0 {
					a.timestamp = all[r.IntN(len(all))].timestamp
				}
			}
			if counters[key] += float64(r.IntN(10)); r.IntN(20) == 0 {
				counters[key] = 0
			}
			stale := r.IntN(20) == 0
			a.value = counters[key] + 0.1
			switch name {
			case "g":
				a.value = r.NormFloat64()
			case "h", "hc":
				a.histogram = randomHistogram(counters[key], name == "hc")
			}
			if stale {
				if a.value = math.Float64frombits(value.StaleNaN); a.histogram != nil {
					a.histogram = &histogram.FloatHistogram{Sum: a.value}
				}
			}
			all = append(all, a)
		}
	}
	return all
}

func randomHistogram(n float64, custom bool) *histogram.FloatHistogram {
	h := &histogram.FloatHistogram{
		Count: 4*n + 1, Sum: n * 3.3, PositiveSpans: []histogram.Span{{Offset: 0, Length: 3}}, PositiveBuckets: []float64{n, 2 * n, n + 1},
	}
	if custom {
		h.Schema, h.CustomValues = histogram.CustomBucketsSchema, []float64{1, 2.5, 5}
	}
	return h
}

// writeLogs writes logs of what arrived, and returns it in the order of their ids.
func writeLogs(t testing.TB, dir string, logs [][]arrival) [][]arrival {
	t.Helper()
	type written struct {
		id   segment.LogID
		list []arrival
	}
	var all []written
	for _, list := range logs {
		w := newLogWriter(t, dir, begun)
		f := &feeder{logWriter: w, refs: map[string]uint64{}}
		for rest := list; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].block == rest[0].block {
				n++
			}
			var samples []sampleOf
			for _, a := range rest[:n] {
				samples = append(samples, a.sampleOf)
			}
			f.feed(rest[0].block, samples)
			rest = rest[n:]
		}
		all = append(all, written{w.writer.Log().ID(), list})
		w.close()
	}
	slices.SortFunc(all, func(a, b written) int { return bytes.Compare(a.id[:], b.id[:]) })
	for i := range all {
		logs[i] = all[i].list
	}
	return logs
}

// visible returns the samples that had arrived before a time.
func visible(logs [][]arrival, before int64) (all []sampleOf) {
	for _, list := range logs {
		for i := range list {
			if list[i].at() < before {
				all = append(all, list[i].sampleOf)
			}
		}
	}
	return all
}

var delayed = []string{
	"c", "g * 2", "c offset 7s", "sum by (job) (c)", "avg without (instance) (g)", "rate(c[20s])", "increase(c[31s])",
	"sum by (job) (rate(c[20s]))", "sum by (job) (rate(h[20s]))", "avg(rate(hc[30s]))", "histogram_quantile(0.9, sum(rate(h[40s])))", "max by (job) (increase(c[20s]))",
	"count_over_time(c[20s])", "sum_over_time(g[33s] offset 5s)", "resets(c[1m])", "max_over_time(sum(g)[30s:5s])",
	"rate(c[20s:3s])", "absent(c{instance=\"1\"})", "absent_over_time(c[3s])", "topk(2, g)", "count_values(\"v\", c > 2)", "sum by (instance) (c) > on (instance) max by (instance) (g)", "c + on (instance, job) group_left max by (instance, job) (g)",
	"scalar(sum(g))", "vector(time())", "timestamp(c)", "quantile(0.5, g)", "stddev(g)", "changes(g[40s])", "deriv(g[40s])", "predict_linear(g[40s], 10)",
	"c unless g", "c or g", "label_replace(g, \"x\", \"$1\", \"instance\", \"(.*)\")", "sort_desc(g)", "histogram_count(h)", "1", "time()",
	"topk(1, c > bool 0)", "avg(c * 0.1)", "stddev by (job) (g + g)", "bottomk by (job) (1, sum by (instance, job) (c > bool 0))", "avg(avg by (instance) (g))", "sum(0.1 * c)",
	"c @ 1030", "rate(c[20s] @ 1040)", "c offset -5s", "sum(c offset -3s)", "c @ end()", "c @ start()", "sum_over_time((g @ 1030)[10s:2s])", "max_over_time(c[20s:5s] @ 1040)", "max_over_time(c[20s:5s] offset -9s)", "rate(c[20s + 5s])",
}

// A range is evaluated with a delay as if each step were evaluated at the moment at which
// it was due.
func TestDelay(t *testing.T) { forEachSource(t, "delay", testDelay) }

func testDelay(t *testing.T, part float64) {
	reference := testEngine(parser.NewParser(parser.Options{ExperimentalDurationExpr: true}))
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		logs := make([][]arrival, 1+seed%2)
		for i := range logs {
			logs[i] = randomLog(r, 60)
		}
		dir := t.TempDir()
		logs = writeLogs(t, dir, logs)
		ours := openEngine(t, dir, DefaultConfig(), spanOf(part, begun, logs[0][len(logs[0])-1].block))
		ours.engine = testEngine(ours.parser)
		requireFloor(t, ours, part)
		delay, step := time.Duration(r.IntN(12))*500*time.Millisecond, int64(1000*(1+r.IntN(5)))
		o := Options{Viewer: viewer, Delay: &delay, Lookback: 30 * time.Second, Late: step}
		start, end := int64(1_010_000), int64(1_010_000)+30*step
		for _, text := range delayed {
			x, err := ours.Parse(t.Context(), viewer, text)
			require.NoError(t, err, text)
			whole, err := ours.Evaluate(t.Context(), x, start, end, step, o)
			require.NoError(t, err, text)
			late := uint64(0)
			var j joint
			for at := start; at <= end; at += step {
				single, err := ours.Evaluate(t.Context(), x, at, at, 0, o)
				require.NoError(t, err, text)
				late += single.Late
				query, err := reference.NewInstantQuery(t.Context(), newNaive(visible(logs, at+delay.Milliseconds())), promql.NewPrometheusQueryOpts(false, o.Lookback), text, time.UnixMilli(at))
				require.NoError(t, err, text)
				want := query.Exec(t.Context())
				require.NoError(t, want.Err, text)
				require.Equal(t, written(want.Value, text), written(single.Value, text), "seed %d, %s at %d, delay %v", seed, text, at, delay)
				j.add(&Result{Value: asMatrix(want.Value, at)})
			}
			require.Equal(t, written(j.result().Value, text), written(whole.Value, text), "seed %d, %s", seed, text)
			require.Equal(t, late, whole.Late, "seed %d, %s", seed, text)
		}
	}
}

// requireFloor checks that the windows have the part that they should.
func requireFloor(t *testing.T, e *Engine, part float64) {
	t.Helper()
	for _, log := range logsOf(e).All() {
		switch floor := log.Window.View().Floor(); {
		case part == 0:
			require.EqualValues(t, math.MaxInt64, floor)
		case part < 1:
			require.Greater(t, floor, int64(begun))
			require.Less(t, floor, log.Time())
		default:
			require.Less(t, floor, int64(begun))
		}
	}
}

// What is late is what the step before had not seen although its time had come.
func TestLate(t *testing.T) { forEachSource(t, "late", testLate) }

func testLate(t *testing.T, part float64) {
	counted := uint64(0)
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 2))
		logs := [][]arrival{randomLog(r, 100)}
		dir := t.TempDir()
		logs = writeLogs(t, dir, logs)
		ours := openEngine(t, dir, DefaultConfig(), spanOf(part, begun, logs[0][len(logs[0])-1].block))
		delay, step := 1500*time.Millisecond, int64(2000)
		x, err := ours.Parse(t.Context(), viewer, "rate(c[20s])")
		require.NoError(t, err)
		for at := int64(1_010_000); at < 1_200_000; at += step {
			before := map[sampleKey]bool{}
			for _, s := range visible(logs, at-step+delay.Milliseconds()) {
				before[sampleKey{s.labels, s.timestamp}] = true
			}
			want := map[sampleKey]bool{}
			for _, s := range visible(logs, at+delay.Milliseconds()) {
				key := sampleKey{s.labels, s.timestamp}
				if labelsOf(s.labels).Get(model.MetricNameLabel) == "c" && s.timestamp > at-20_000 && s.timestamp <= at-step && !before[key] {
					want[key] = true
				}
			}
			got, err := ours.Evaluate(t.Context(), x, at, at, 0, Options{Viewer: viewer, Delay: &delay, Late: step})
			require.NoError(t, err)
			require.EqualValues(t, len(want), got.Late, "at %d", at)
			counted += got.Late
		}
	}
	require.NotZero(t, counted)
}
