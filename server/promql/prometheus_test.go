package promql

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// sampleOf is one of a series of a test.
type sampleOf struct {
	labels    string // of the series, as bytes
	timestamp int64
	value     float64
	histogram *histogram.FloatHistogram
}

// feeder writes blocks of samples.
type feeder struct {
	*logWriter
	refs map[string]uint64
	time int64 // of the last block
}

// feed appends a block of samples.
func (f *feeder) feed(at int64, samples []sampleOf) { f.append(f.block(at, samples)) }

// block makes one of samples.
func (f *feeder) block(at int64, samples []sampleOf) *segment.Block {
	f.t.Helper()
	f.time = max(f.time, at)
	b := &segment.Block{Time: f.time}
	var added []segment.Series
	for _, s := range samples {
		ref, ok := f.refs[s.labels]
		if !ok {
			ref = uint64(len(f.refs) + 1)
			f.refs[s.labels] = ref
			var row segment.Labels
			labelsOf(s.labels).Range(func(l labels.Label) { row = append(row, segment.Label{Name: l.Name, Value: l.Value}) })
			added = append(added, segment.Series{Ref: ref, Labels: row})
		}
		if s.histogram == nil {
			b.Samples.Add(segment.Sample{Ref: ref, Timestamp: s.timestamp, Value: s.value})
			continue
		}
		h := prompb.FromFloatHistogram(s.timestamp, s.histogram)
		data, err := h.Marshal()
		require.NoError(f.t, err)
		b.AddHistogram(ref, s.timestamp, data)
	}
	b.Series = segment.TableOf(added...)
	return b
}

var known = map[string]labels.Labels{}

func keyOf(ls labels.Labels) string {
	key := string(ls.Bytes(nil))
	known[key] = ls
	return key
}

func labelsOf(key string) labels.Labels { return known[key] }

// samplesOf returns those that a load adds, by time.
func samplesOf(l *load) (all []sampleOf) {
	for _, s := range l.series {
		key := keyOf(s.labels)
		for i, v := range s.values {
			if !v.Omitted {
				all = append(all, sampleOf{key, int64(i) * l.gap.Milliseconds(), v.Value, v.Histogram})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b sampleOf) int { return cmp.Compare(a.timestamp, b.timestamp) })
	return all
}

// testEngine is as Prometheus' tests have it, but for the start timestamps of samples, for
// which a server has no place.
func testEngine(p parser.Parser) *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1_000_000, Timeout: time.Minute,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true, EnableDelayedNameRemoval: true, Parser: p,
	})
}

// Every expression that Prometheus tests its engine with results in the same on a log,
// bit by bit, as on lists of the same samples.
func TestPrometheusTests(t *testing.T) {
	for _, c := range corpora(t) {
		forEachSource(t, c.name, func(t *testing.T, part float64) {
			var all []sampleOf
			var ours *Engine
			for _, command := range c.commands {
				switch command := command.(type) {
				case clearing:
					all, ours = nil, nil
				case *load:
					all, ours = append(all, samplesOf(command)...), nil
				case evaluated:
					if ours == nil {
						ours = loaded(t, all, part)
					}
					comparePlain(t, newNaive(all), ours, command)
				}
			}
		})
	}
}

var ordered = regexp.MustCompile(`^(sort|topk|bottomk)`)

// forEachSource runs a test that reads windows, segments, and both: part is which of the
// log's time windows have.
func forEachSource(t *testing.T, name string, f func(t *testing.T, part float64)) {
	for source, part := range map[string]float64{"window": 2, "segments": 0, "both": 0.5} {
		t.Run(name+"/"+source, func(t *testing.T) { f(t, part) })
	}
}

// spanOf is the span of windows that have a part of the time between two timestamps.
func spanOf(part float64, from, to int64) time.Duration {
	return time.Duration(part * float64(to-from+time.Minute.Milliseconds()*int64(part)) * float64(time.Millisecond))
}

// loaded returns an engine on a log with samples.
func loaded(t testing.TB, samples []sampleOf, part float64) *Engine {
	t.Helper()
	dir := t.TempDir()
	w := newLogWriter(t, dir, 0)
	f := &feeder{logWriter: w, refs: map[string]uint64{}}
	last := int64(0)
	for len(samples) > 0 {
		last = max(last, samples[0].timestamp)
		n := 1
		for n < len(samples) && samples[n].timestamp == samples[0].timestamp {
			n++
		}
		f.feed(samples[0].timestamp, samples[:n])
		samples = samples[n:]
	}
	w.close()
	e := openEngine(t, dir, DefaultConfig(), spanOf(part, 0, last))
	e.parser = parser.NewParser(testOptions)
	e.engine = testEngine(e.parser)
	return e
}

// comparePlain compares what an expression results in without a delay.
func comparePlain(t testing.TB, theirs naive, ours *Engine, x evaluated) {
	t.Helper()
	reference := testEngine(parser.NewParser(testOptions))
	var query promql.Query
	var err error
	start, end := time.UnixMilli(x.steps.start), time.UnixMilli(x.steps.end)
	if x.steps.step == 0 {
		query, err = reference.NewInstantQuery(t.Context(), theirs, nil, x.text, start)
	} else {
		query, err = reference.NewRangeQuery(t.Context(), theirs, nil, x.text, start, end, time.Duration(x.steps.step)*time.Millisecond)
	}
	want := &promql.Result{Err: err}
	if err == nil {
		want = query.Exec(t.Context())
	}
	got := new(Result)
	parsed, err := ours.Parse(t.Context(), viewer, x.text)
	if err == nil {
		got, err = ours.Evaluate(t.Context(), parsed, x.steps.start, x.steps.end, x.steps.step, Options{Viewer: viewer})
	}
	if want.Err != nil {
		require.Error(t, err, "line %d: %s", x.line, x.text)
		return
	}
	require.NoError(t, err, "line %d: %s", x.line, x.text)
	require.Equal(t, written(want.Value, x.text), written(got.Value, x.text), "line %d: %s", x.line, x.text)
	warnings, infos := want.Warnings.AsStrings(x.text, 0, 0)
	gotWarnings, gotInfos := got.Annotations.AsStrings(x.text, 0, 0)
	require.ElementsMatch(t, warnings, gotWarnings, "line %d: %s", x.line, x.text)
	require.ElementsMatch(t, infos, gotInfos, "line %d: %s", x.line, x.text)
}

// written is a value in words, in which each bit of it counts. The order does where an
// expression says so; where it does not, the engine takes that of a map at times.
func written(v parser.Value, text string) (lines []string) {
	if !ordered.MatchString(text) {
		defer func() { slices.Sort(lines) }()
	}
	point := func(t int64, f float64, h *histogram.FloatHistogram) string {
		if h == nil {
			return fmt.Sprintf("%d %x", t, math.Float64bits(f))
		}
		return fmt.Sprintf("%d %s %x %x %d", t, h.TestExpression(), math.Float64bits(h.Sum), math.Float64bits(h.Count), h.CounterResetHint)
	}
	switch v := v.(type) {
	case Vector:
		for _, s := range v {
			lines = append(lines, s.Metric.String()+" "+point(s.T, s.F, s.H))
		}
	case Matrix:
		for _, s := range v {
			line := s.Metric.String()
			for _, p := range s.Floats {
				line += " " + point(p.T, p.F, nil)
			}
			for _, p := range s.Histograms {
				line += " " + point(p.T, 0, p.H)
			}
			lines = append(lines, line)
		}
	case Scalar:
		lines = append(lines, point(v.T, v.V, nil))
	case String:
		lines = append(lines, v.V)
	}
	return lines
}
