package promql

import (
	"context"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// reading is what one evaluation reads of the logs. What is read once serves all runs of
// the engine that the evaluation takes. It implements [storage.Queryable].
type reading struct {
	ctx     context.Context
	engine  *Engine
	options Options
	bytes   *limit.Hold
	whole   span // of the evaluation
	made    making
	// labelsOnly says that no samples of segments are wanted.
	labelsOnly bool
	found      map[string][]*series
	// follower finds what it follows; nil: there is none.
	follower *Follower

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
		ctx: ctx, engine: e, options: o, whole: whole, found: map[string][]*series{},
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
func (r *reading) selected(hints *storage.SelectHints, matchers []*labels.Matcher) ([]*series, error) {
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
func (r *reading) findOrFollow(key string, from, to int64, matchers []*labels.Matcher) ([]*series, error) {
	if r.follower != nil {
		if m, err := r.follower.find(r, key, from, to, matchers); m != nil || err != nil {
			return m.series(), err
		}
	}
	return r.find(from, to, matchers)
}

// What things take in memory, about.
const (
	pointBytes  = 16
	seriesBytes = 200
	chunkBytes  = 80
)

// find returns the series that any set of matchers matches, with the samples between two
// timestamps, both included, sorted by labels.
func (r *reading) find(from, to int64, sets ...[]*labels.Matcher) ([]*series, error) {
	e := r.engine.shared.Evaluations.New(r.ctx, r.options.Viewer)
	defer e.End()
	selected := e.Select(sets...)
	all := r.overlaid(sets)
	for _, log := range r.engine.shared.Replicas.Readable() {
		var err error
		if log.Remote() {
			all, err = r.ofHistory(all, e, log, &selected, from, to)
		} else if err = r.complete(log, from); err == nil {
			all, err = r.ofLog(all, e, log, &selected, from, to)
		}
		if err != nil {
			return nil, err
		}
	}
	return merged(all), nil
}

// complete fails if the log may have samples from a time on in the bucket that nobody knows of.
func (r *reading) complete(log *replica.Replica, from int64) error {
	oldest, there := log.Log.Oldest()
	if !there || oldest.FirstSequence <= 1 || from >= oldest.CreateTime.UnixMilli() {
		return nil
	}
	return r.engine.shared.Replicas.Listed()
}

// overlaid returns the series of the overlay that matchers match.
func (r *reading) overlaid(sets [][]*labels.Matcher) (all []*series) {
	for i := range r.options.Overlay {
		o := &r.options.Overlay[i]
		for _, set := range sets {
			if matches(o.Labels, set) {
				all = append(all, r.series(o.Labels, part{chunks: o.Chunks, from: math.MinInt64, to: math.MaxInt64, always: true}))
				break
			}
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

func (r *reading) series(ls labels.Labels, p part) *series {
	return &series{labels: ls, parts: []part{p}, before: &r.before}
}

// ofLog appends the series of a log: what the window has, and the segments before that.
func (r *reading) ofLog(all []*series, e *selection.Evaluation, log *replica.Replica, s *selection.Selection, from, to int64) ([]*series, error) {
	recent, err := log.Recent(e, s)
	if err != nil {
		return nil, err
	}
	defer recent.Release()
	floor := recent.Window.Floor()
	if from < floor {
		if all, err = r.ofHistory(all, e, log, s, from, min(to, floor-1)); err != nil {
			return nil, err
		}
	}
	if floor > to {
		return all, nil
	}
	return r.ofWindow(all, recent, max(from, floor), to)
}

// ofHistory appends the series of the segments.
func (r *reading) ofHistory(all []*series, e *selection.Evaluation, log *replica.Replica, s *selection.Selection, from, to int64) ([]*series, error) {
	if r.labelsOnly {
		err := r.engine.shared.History.Series(e, log.Log, s, from, to, func(ls labels.Labels) error {
			all = append(all, r.series(ls, part{}))
			return r.grow(int64(seriesBytes + ls.ByteSize()))
		})
		return all, err
	}
	err := r.engine.shared.History.Select(e, log.Log, s, from, to, func(found chunk.Series) error {
		n := int64(seriesBytes + found.Labels.ByteSize())
		for _, c := range found.Chunks {
			n += int64(chunkBytes + len(c.Data.Bytes()) + len(c.Lags))
		}
		all = append(all, r.series(found.Labels, part{chunks: found.Chunks, from: from, to: to}))
		return r.grow(n)
	})
	return all, err
}

// ofWindow appends the series of a window.
func (r *reading) ofWindow(all []*series, recent *replica.Recent, from, to int64) ([]*series, error) {
	var row segment.Labels
	var builder labels.ScratchBuilder
	held := int64(0)
	reader := recent.Window.Reader(from, to)
	for ref := range recent.From(0) {
		chunks := reader.Chunks(ref, nil)
		if len(chunks) == 0 {
			continue
		}
		row, _ = recent.View.Labels(ref, row[:0])
		found := r.series(labelsIn(&builder, row), part{chunks: chunks, from: from, to: to})
		all = append(all, found)
		if held += seriesBytes + int64(found.labels.ByteSize()) + int64(chunkBytes*len(chunks)); held > heldAtOnce {
			if err := r.grow(held); err != nil {
				return nil, err
			}
			held = 0
		}
	}
	return all, r.grow(held)
}

// heldAtOnce is how much is read before it is held.
const heldAtOnce = 256 << 10

// grow holds more, unless nobody wants it any more.
func (r *reading) grow(n int64) error {
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	return r.bytes.Grow(n)
}

// release gives back what was held.
func (r *reading) release(n int64) { _ = r.bytes.Grow(-n) }

// labelsIn makes labels of those of a segment.
func labelsIn(b *labels.ScratchBuilder, row segment.Labels) labels.Labels {
	b.Reset()
	for i := range row {
		b.Add(row[i].Name, row[i].Value)
	}
	return b.Labels()
}

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

var _ chunkenc.Iterator = (*iterator)(nil)
