package promql

import (
	"context"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/samples"
)

// reading is what one evaluation reads of the source. What is read once serves all runs of
// the engine that the evaluation takes. It implements [storage.Queryable].
type reading struct {
	ctx     context.Context
	engine  *Engine
	options Options
	bytes   *limit.Hold
	whole   span // of the evaluation
	made    making
	found   map[string][]series
	// follower finds what it follows; nil: there is none.
	follower *Follower
	// leaves are what groups have evaluated; nil: there are none.
	leaves []leafResult

	run     span  // what the engine evaluates
	before  int64 // what has arrived by then is visible
	late    uint64
	failure error // of reading, which the engine would put into words
}

// span is the steps from one time to another, in ms.
type span struct{ start, end, step int64 }

// steps is how many there are.
func (s span) steps() int64 {
	if s.step == 0 {
		return 1
	}
	return (s.end-s.start)/s.step + 1
}

func (e *Engine) newReading(ctx context.Context, o Options, whole span) *reading {
	return &reading{
		ctx: ctx, engine: e, options: o, whole: whole, found: map[string][]series{},
		bytes: e.Hold(o.Viewer), before: chunk.All,
	}
}

func (r *reading) close() { r.bytes.Release() }

// Querier implements [storage.Queryable].
func (r *reading) Querier(_, _ int64) (storage.Querier, error) { return querier{r}, nil }

// querier implements [storage.Querier] for one run of the engine.
type querier struct{ *reading }

// Select implements [storage.Querier]. Series are always sorted, since the order in which
// floats are added up decides their last bits.
func (q querier) Select(_ context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	if leaf := q.leaf(matchers); leaf != nil {
		return leaf
	}
	all, err := q.selected(hints, matchers)
	if err == nil {
		err = q.scan(all, hints)
	}
	if err == nil {
		err = q.make(all, hints)
	}
	if err != nil {
		q.failure = err
		return storage.ErrSeriesSet(err)
	}
	return &seriesSet{series: all}
}

// selected returns what a selector needs for all runs of the evaluation.
func (r *reading) selected(hints *storage.SelectHints, matchers []*labels.Matcher) ([]series, error) {
	from := hints.Start - (r.run.start - r.whole.start)
	to := hints.End + (r.whole.end - r.run.end)
	key := r.keyOf(from, to, matchers)
	all, ok := r.found[key]
	if ok {
		return all, nil
	}
	all, err := r.findOrFollow(key, from, to, matchers)
	if err != nil {
		return nil, err
	}
	r.found[key] = all
	return all, nil
}

// keyOf names what a selector reads, by how far that is from the steps.
func (r *reading) keyOf(from, to int64, matchers []*labels.Matcher) string {
	key := strconv.AppendInt(nil, from-r.whole.start, 36)
	key = strconv.AppendInt(append(key, ' '), to-r.whole.end, 36)
	for _, m := range matchers {
		key = append(append(key, ','), m.String()...)
	}
	return string(key)
}

// findOrFollow leaves to the follower what it can find.
func (r *reading) findOrFollow(key string, from, to int64, matchers []*labels.Matcher) ([]series, error) {
	if r.follower != nil {
		if m, err := r.follower.find(r, key, from, to, matchers); m != nil || err != nil {
			return m.series(), err
		}
	}
	return r.find(from, to, matchers)
}

// pointBytes is about what a point takes.
const pointBytes = 16

// find returns the series that matchers match, with the samples between two timestamps,
// both included, sorted by labels.
func (r *reading) find(from, to int64, matchers []*labels.Matcher) ([]series, error) {
	q := samples.Query{Sets: [][]*labels.Matcher{matchers}, From: from, To: to}
	if r.options.Delay != nil { // What is found serves all steps.
		q.Reached = new(r.whole.end + r.options.Delay.Milliseconds())
	}
	found, err := r.engine.shared.Source.Select(r.ctx, r.options.Viewer, r.bytes, q)
	if err != nil {
		return nil, err
	}
	if over := r.overlaid(matchers); len(over) > 0 {
		found = samples.Merged(append(over, found...))
	}
	return seriesOf(make([]series, 0, len(found)), found, &r.before), nil
}

// overlaid returns the series of the overlay that matchers match.
func (r *reading) overlaid(matchers []*labels.Matcher) (all []*samples.Series) {
	for i := range r.options.Overlay {
		o := &r.options.Overlay[i]
		if matches(o.Labels, matchers) {
			all = append(all, &samples.Series{Labels: o.Labels, Parts: []samples.Part{{Chunks: o.Chunks, From: math.MinInt64, To: math.MaxInt64, Always: true}}})
		}
	}
	return all
}

func matches(ls labels.Labels, set []*labels.Matcher) bool {
	for _, m := range set {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// grow holds more, unless nobody wants it any more.
func (r *reading) grow(n int64) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	return r.bytes.Grow(n)
}

// release gives back what was held.
func (r *reading) release(n int64) { _ = r.bytes.Grow(-n) }

// LabelValues implements [storage.Querier]. The engine does not ask for them.
func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// LabelNames implements [storage.Querier]. The engine does not ask for them.
func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// Close implements [storage.Querier]. What was read is held until the evaluation ends.
func (querier) Close() error { return nil }
