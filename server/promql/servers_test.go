package promql

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/history"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/window"
)

// source is a forwarder: a log that grows, of which all is known that it was given. Series
// that the head has dropped get other references.
type source struct {
	*logWriter
	refs  map[string]uint64
	next  uint64
	time  int64 // of the last block
	given []arrival
}

func newSource(t *testing.T) *source {
	t.Helper()
	o := seglog.DefaultOptions()
	s := &source{logWriter: &logWriter{t: t, head: head.New()}, refs: map[string]uint64{}, next: 1}
	o.RetentionTime, o.Sync, o.Now, o.Logger = 0, seglog.SyncNever, func() time.Time { return time.UnixMilli(max(begun, s.time)) }, slog.New(slog.DiscardHandler)
	store, err := seglog.OpenStore(t.TempDir(), o)
	require.NoError(t, err)
	s.store = store
	s.writer, err = store.CreateWriter(s.head)
	require.NoError(t, err)
	t.Cleanup(s.close)
	return s
}

// give appends a block.
func (s *source) give(at int64, samples []sampleOf) {
	s.t.Helper()
	s.time = at
	for _, a := range samples {
		s.given = append(s.given, arrival{a, s.time})
	}
	b := s.block(samples)
	seq, err := s.writer.Append(b)
	require.NoError(s.t, err)
	b.Sequence = seq
	require.NoError(s.t, s.head.ApplyBlock(b))
	require.NoError(s.t, s.writer.WaitDurable(seq))
}

func (s *source) block(samples []sampleOf) *segment.Block {
	for key, ref := range s.refs {
		if _, ok := s.head.Latest(ref); !ok {
			delete(s.refs, key)
		}
	}
	b := &segment.Block{Time: s.time}
	var added []segment.Series
	for _, a := range samples {
		ref, ok := s.refs[a.labels]
		if !ok {
			ref = s.next
			s.next++
			s.refs[a.labels] = ref
			var row segment.Labels
			labelsOf(a.labels).Range(func(l labels.Label) { row = append(row, segment.Label{Name: l.Name, Value: l.Value}) })
			added = append(added, segment.Series{Ref: ref, Labels: row})
		}
		if a.histogram == nil {
			b.Samples.Add(segment.Sample{Ref: ref, Timestamp: a.timestamp, Value: a.value})
			continue
		}
		h := prompb.FromFloatHistogram(a.timestamp, a.histogram)
		data, err := h.Marshal()
		require.NoError(s.t, err)
		b.AddHistogram(ref, a.timestamp, data)
	}
	b.Series = segment.TableOf(added...)
	return b
}

// rotate begins a segment without series that are idle.
func (s *source) rotate(idle int64) {
	s.head.Expire(s.time-idle, nil)
	require.NoError(s.t, s.writer.Rotate())
}

// target is a server, whose windows have a span and a limit.
type target struct {
	t      *testing.T
	name   string
	dir    string
	span   time.Duration
	bytes  int64
	engine *Engine
	close  func()
	conns  map[segment.LogID]*conn
	follow map[string]*Follower
}

// follower is the server's of an expression.
func (s *target) follower(x *Expression, o Options) *Follower {
	f := s.follow[x.Text()]
	if f == nil {
		f = s.engine.Follow(x, o)
		s.follow[x.Text()] = f
	}
	return f
}

type conn struct{ *replica.Feeding }

func (conn) Interrupt()                     {}
func (conn) Gap(gap *seglog.GapError) error { return gap }

func (s *target) open() {
	t := s.t
	o := seglog.DefaultOptions()
	o.Sync, o.RetentionTime, o.Logger = seglog.SyncNever, 0, slog.New(slog.DiscardHandler)
	store, err := seglog.OpenStore(s.dir, o)
	require.NoError(t, err)
	windows := window.NewMemory(window.Options{Span: s.span, Bytes: s.bytes, Logger: slog.New(slog.DiscardHandler)})
	replicas, err := replica.Open(store, windows, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	l := selection.DefaultLimits()
	c := DefaultConfig()
	byteBudget := limit.NewBudget(FlagBytes, "bytes", int64(c.Bytes), int64(c.Bytes))
	index, err := history.Open(store, history.Options{
		Bytes: 1 << 30, Memory: byteBudget, Decodes: limit.NewBudget("--limit.decodes", "turns", 4, 4), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	evaluations := selection.NewEvaluations(l, limit.NewBudget(selection.FlagEvaluationBytes, "bytes", int64(l.EvaluationBytes), int64(l.EvaluationBytes)))
	s.engine = New(c, Shared{
		Source: &samples.Store{Replicas: replicas, History: index, Evaluations: evaluations}, Logger: slog.New(slog.DiscardHandler),
		Evaluations: evaluations, Bytes: byteBudget, Turns: limit.NewBudget(FlagQueries, "turns", int64(c.Queries), int64(c.Queries)),
	})
	s.engine.engine = testEngine(s.engine.parser)
	s.conns, s.follow = map[segment.LogID]*conn{}, map[string]*Follower{}
	s.close = func() {
		for _, f := range s.follow {
			f.Close()
		}
		for _, c := range s.conns {
			c.Release()
		}
		require.NoError(t, index.Close())
		require.NoError(t, replicas.Close())
		require.NoError(t, store.Close())
	}
}

// bring applies what a server does not have yet.
func (s *target) bring(from *source) {
	id := from.writer.Log().ID()
	c := s.conns[id]
	if c == nil {
		c = &conn{}
		var err error
		c.Feeding, err = logsOf(s.engine).Lease(s.t.Context(), id, replica.Source{Feeder: c})
		require.NoError(s.t, err)
		s.conns[id] = c
	}
	c.SetTail(from.writer.Log().Last())
	sequence, _, _ := c.Position()
	more := func(after uint64) bool { return after < from.writer.Log().Last() }
	if !more(sequence) {
		return
	}
	require.NoError(s.t, logship.Send(s.t.Context(), from.writer.Log(), sequence, c, logship.Options{More: more}))
}

// someSamples are those of a block: of all kinds, also several kinds in a series, in time,
// late, from the future, and repeated.
func someSamples(r *rand.Rand, now int64, counters map[string]float64) (all []sampleOf) {
	for range r.IntN(8) {
		name, instance := []string{"c", "g", "h", "hc", "mix"}[r.IntN(5)], r.IntN(4)
		key := keyOf(labels.FromStrings(model.MetricNameLabel, name, "job", fmt.Sprint(instance%2), "instance", fmt.Sprint(instance), "pod", fmt.Sprint(now/60_000%3)))
		a := sampleOf{key, now - int64(r.IntN(1500)), 0, nil}
		switch r.IntN(16) {
		case 0:
			a.timestamp = now - int64(r.IntN(60_000))
		case 1:
			a.timestamp = now + int64(r.IntN(1000))
		case 2:
			a.timestamp = now - []int64{0, 1, 999, 1000, 1001, 1999, 2000, 2001, 127_000, 128_001, 129_000, 400_000}[r.IntN(12)]
		case 3:
			a.timestamp = now + []int64{1, 999, 1000, 5000, 59_999, 60_000, 60_001, 120_000, 599_000}[r.IntN(9)]
		case 4, 5:
			a.timestamp = now / 5000 * 5000 // duplicates
		}
		if counters[key] += float64(r.IntN(10)); r.IntN(20) == 0 {
			counters[key] = 0
		}
		a.value = counters[key] + 0.1
		if name == "g" {
			a.value = r.NormFloat64()
		}
		if name == "h" || name == "hc" || name == "mix" && r.IntN(2) == 0 {
			a.histogram = randomHistogram(counters[key], name == "hc")
			switch r.IntN(6) {
			case 0:
				a.histogram.CounterResetHint = histogram.GaugeType
			case 1:
				if name != "hc" {
					a.histogram.Schema = 2
				}
			case 2:
				if name == "hc" {
					a.histogram.CustomValues = []float64{1, 3, 5}
				}
			}
		}
		if r.IntN(20) == 0 {
			if a.value = math.Float64frombits(value.StaleNaN); a.histogram != nil {
				a.histogram = &histogram.FloatHistogram{Sum: a.value}
			}
		}
		all = append(all, a)
	}
	return all
}

// variousTexts read series of several kinds, and much at once.
var variousTexts = []string{
	"mix", "count_over_time(mix[30s])", "rate(mix[40s])", "last_over_time(mix[20s])", `{job="1"}`, `count({__name__=~".+"})`, "sum_over_time(c[3m])",
	`count_over_time({__name__=~".+"}[7m])`, "sum(rate(c[5m]))", "c[45s]", `{__name__=~".+"}[2m]`, `{__name__=~".+"}[10m]`, "sum by (job) (rate(c[90s]))",
	"count by (instance) (mix)", "max(increase(c[50s]))",
}

// Servers that have more or less in memory, and that are restarted now and then, come to
// the same as who looks through all samples.
func TestServersAgree(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 77))
			delay := time.Duration(r.IntN(8)) * 500 * time.Millisecond
			a := &agreement{
				t: t, r: r, o: Options{Viewer: viewer, Delay: &delay, Lookback: 30 * time.Second}, now: begun,
				texts: slices.Concat(delayed, followedTexts, variousTexts),
				targets: []*target{
					{name: "history", span: 0, bytes: 1 << 30},
					{name: "short", span: 40 * time.Second, bytes: 1 << 30},
					{name: "tight", span: 10 * time.Minute, bytes: 12_000},
					{name: "long", span: time.Hour, bytes: 1 << 30},
				},
			}
			for range 1 + seed%2 {
				a.sources, a.counters = append(a.sources, newSource(t)), append(a.counters, map[string]float64{})
			}
			slices.SortFunc(a.sources, func(x, y *source) int {
				i, j := x.writer.Log().ID(), y.writer.Log().ID()
				return bytes.Compare(i[:], j[:])
			})
			for _, s := range a.targets {
				s.t, s.dir = t, t.TempDir()
				s.open()
				t.Cleanup(func() { s.close() })
			}
			for range 120 {
				a.goOn()
				at := a.now - delay.Milliseconds()
				if r.IntN(3) == 0 {
					at -= r.Int64N(a.now - begun + 1)
				}
				for range 3 {
					a.compare(a.texts[r.IntN(len(a.texts))], at)
				}
			}
		})
	}
}

// agreement is forwarders and servers while time goes on.
type agreement struct {
	t        *testing.T
	r        *rand.Rand
	o        Options
	texts    []string
	sources  []*source
	counters []map[string]float64 // of the sources
	targets  []*target
	now      int64
}

// goOn has some seconds pass.
func (a *agreement) goOn() {
	for range 1 + a.r.IntN(4) {
		a.now += int64(a.r.IntN(4000))
		for i, s := range a.sources {
			s.give(a.now, someSamples(a.r, a.now, a.counters[i]))
			if a.r.IntN(60) == 0 {
				s.rotate([]int64{20_000, 60_000, 3_600_000}[a.r.IntN(3)])
			}
		}
	}
	for _, s := range a.targets {
		if a.r.IntN(12) == 0 {
			s.close()
			s.open()
		}
		for _, from := range a.sources {
			s.bring(from)
		}
	}
}

// compare compares what an expression comes to at a time.
func (a *agreement) compare(text string, at int64) {
	a.t.Helper()
	var logs [][]arrival
	for _, s := range a.sources {
		logs = append(logs, s.given)
	}
	reference := testEngine(parser.NewParser(parser.Options{ExperimentalDurationExpr: true}))
	samples := newNaive(visible(logs, at+a.o.Delay.Milliseconds()))
	query, err := reference.NewInstantQuery(a.t.Context(), samples, promql.NewPrometheusQueryOpts(false, a.o.Lookback), text, time.UnixMilli(at))
	require.NoError(a.t, err, text)
	want := query.Exec(a.t.Context())
	for _, s := range a.targets {
		x, err := s.engine.Parse(a.t.Context(), viewer, text)
		require.NoError(a.t, err, text)
		got, err := s.engine.Evaluate(a.t.Context(), x, at, at, 0, a.o)
		a.same(s, text, at, want, got, err)
		if x.Type() != parser.ValueTypeMatrix {
			got, err = s.follower(x, a.o).Evaluate(a.t.Context(), viewer, at)
			a.same(s, text, at, want, got, err)
		}
	}
}

func (a *agreement) same(s *target, text string, at int64, want *promql.Result, got *Result, err error) {
	a.t.Helper()
	if want.Err != nil {
		require.Error(a.t, err, text)
		return
	}
	require.NoError(a.t, err, text)
	require.Equal(a.t, written(want.Value, text), written(got.Value, text), "%s: %s at %d, now %d", s.name, text, at, a.now)
}
