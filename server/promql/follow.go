package promql

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/window"
)

// Follower evaluates an expression at one step after the other. Between them it keeps which
// series the selectors match, and tries those alone that have come since. Results are the
// same, bit by bit, as [Engine.Evaluate] has them.
type Follower struct {
	engine    *Engine
	x         *Expression
	options   Options
	aggregate *aggregate // nil: the engine evaluates it

	closed atomic.Bool
	mu     sync.Mutex // of the evaluation under way
	sets   map[string]*matched
	bytes  *limit.Hold
}

// Follow returns a follower. It has to be closed. There is no overlay.
func (e *Engine) Follow(x *Expression, o Options) *Follower {
	return &Follower{engine: e, x: x, options: o, aggregate: e.newAggregate(x), sets: map[string]*matched{}, bytes: e.Hold(o.Viewer)}
}

// Close gives up what the follower keeps, once the evaluation under way has ended. After
// that it keeps nothing.
func (f *Follower) Close() {
	f.closed.Store(true)
	f.giveUp()
}

// giveUp gives up what a closed follower keeps, unless an evaluation is under way, which
// does so itself.
func (f *Follower) giveUp() {
	if f.closed.Load() && f.mu.TryLock() {
		defer f.mu.Unlock()
		clear(f.sets)
		f.bytes.Release()
	}
}

// Evaluate evaluates the expression at a step, in ms, on behalf of a viewer who is allowed
// the same. One of several at a time profits from those before.
func (f *Follower) Evaluate(ctx context.Context, v selection.Viewer, at int64) (*Result, error) {
	o := f.options
	o.Viewer = v
	whole := span{start: at, end: at}
	if f.x.apart || f.closed.Load() || !f.mu.TryLock() {
		return f.engine.Evaluate(ctx, f.x, at, at, 0, o)
	}
	defer func() {
		f.mu.Unlock()
		f.giveUp()
	}()
	return f.engine.inTurn(ctx, f.x, whole, o, func(e *evaluation) (*Result, error) {
		e.reading.follower = f
		if f.aggregate != nil {
			if result, err := f.aggregate.evaluate(e, at); result != nil || err != nil {
				return result, err
			}
		}
		return e.evaluate(whole)
	})
}

// matched are the series that a selector matches, sorted by labels.
type matched struct {
	selected selection.Selection
	logs     []followed
	all      []*followedSeries
	list     []*series // those with samples
}

// series are those that have samples.
func (m *matched) series() []*series {
	if m == nil {
		return nil
	}
	return m.list
}

// followed is a log, and the first reference that was not tried yet.
type followed struct {
	log  *replica.Replica
	next uint64
}

// followedSeries is a series, and where it is.
type followedSeries struct {
	series
	places []place
	group  int // of the aggregate, plus 1; 0: not known yet
}

// place is a series of a log, with memory for its chunks.
type place struct {
	log    int
	ref    uint64
	chunks []chunk.Chunk
}

// find returns what a selector needs at a step, or nil if that is not in the windows.
func (f *Follower) find(r *reading, key string, from, to int64, matchers []*labels.Matcher) (*matched, error) {
	e := f.engine.shared.Evaluations.New(r.ctx, r.options.Viewer)
	defer e.End()
	for _, log := range f.engine.shared.Replicas.Archived() {
		if log.Log.MaxTime() >= from {
			return nil, nil
		}
	}
	m := f.sets[key]
	logs := f.engine.shared.Replicas.Serving()
	if m == nil || !slices.EqualFunc(m.logs, logs, func(a followed, b *replica.Replica) bool { return a.log == b }) {
		m = &matched{selected: e.Select(matchers)}
		for _, log := range logs {
			m.logs = append(m.logs, followed{log: log})
		}
		f.sets[key] = m
	}
	views := make([]*replica.Recent, 0, len(logs))
	defer func() {
		for _, v := range views {
			v.Release()
		}
	}()
	for i := range m.logs {
		v, err := m.update(e, i)
		if err != nil {
			delete(f.sets, key)
			return nil, err
		}
		if views = append(views, v); v.Window.Floor() > from {
			return nil, nil
		}
	}
	m.read(views, from, to, &r.before)
	if err := f.bytes.Resize(f.size()); err != nil {
		delete(f.sets, key)
		return nil, err
	}
	return m, nil
}

// size is about what the follower keeps.
func (f *Follower) size() (n int64) {
	for _, m := range f.sets {
		n += int64(len(m.all)) * (seriesBytes + chunkBytes)
	}
	return n
}

// update adds the series of a log that are new.
func (m *matched) update(e *selection.Evaluation, i int) (*replica.Recent, error) {
	l := &m.logs[i]
	var selected *selection.Selection
	if l.next == 0 {
		selected = &m.selected
	}
	v, err := l.log.Recent(e, selected)
	if err != nil {
		return nil, err
	}
	var added []*followedSeries
	var row segment.Labels
	var builder labels.ScratchBuilder
	for ref := range v.From(l.next) {
		row, _ = v.View.Labels(ref, row[:0])
		if selected == nil {
			if err := e.StepSeries(&m.selected, row); err != nil {
				v.Release()
				return nil, err
			}
			if !m.selected.Matches(row) {
				continue
			}
		}
		added = append(added, &followedSeries{series: series{labels: labelsIn(&builder, row)}, places: []place{{log: i, ref: ref}}})
	}
	l.next = v.Next()
	m.add(added)
	return v, nil
}

// add adds series, in the place of which there may be others with the same labels.
func (m *matched) add(added []*followedSeries) {
	if len(added) == 0 {
		return
	}
	m.all = append(m.all, added...)
	slices.SortStableFunc(m.all, func(a, b *followedSeries) int { return labels.Compare(a.labels, b.labels) })
	n := 0
	for _, s := range m.all {
		if n > 0 && labels.Equal(m.all[n-1].labels, s.labels) {
			before := m.all[n-1]
			before.places = append(before.places, s.places...)
			slices.SortStableFunc(before.places, func(a, b place) int { return a.log - b.log })
			continue
		}
		m.all[n] = s
		n++
	}
	clear(m.all[n:])
	m.all = m.all[:n]
}

// read takes the chunks of all series, and forgets those that are gone.
func (m *matched) read(views []*replica.Recent, from, to int64, before *int64) {
	readers := make([]*window.Reader, len(views))
	for i, v := range views {
		readers[i] = v.Window.Reader(from, to)
	}
	m.list = m.list[:0]
	m.all = slices.DeleteFunc(m.all, func(s *followedSeries) bool {
		s.parts, s.before = s.parts[:0], before
		known := false
		for i := range s.places {
			p := &s.places[i]
			if p.chunks = readers[p.log].Chunks(p.ref, p.chunks[:0]); len(p.chunks) > 0 {
				s.parts = append(s.parts, part{chunks: p.chunks, from: math.MinInt64, to: math.MaxInt64})
			} else if !known {
				known = views[p.log].Has(p.ref)
			}
		}
		if len(s.parts) > 0 {
			m.list = append(m.list, &s.series)
		}
		return len(s.parts) == 0 && !known
	})
}
