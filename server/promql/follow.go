package promql

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/samples"
	"github.com/promgrpc/exporter/server/selection"
)

// Follower evaluates an expression at one step after the other. Between them it keeps which
// series the selectors match, and tries those alone that have come since. Results are the
// same, bit by bit, as [Engine.Evaluate] has them.
type Follower struct {
	engine    *Engine
	x         *Expression
	options   Options
	aggregate *aggregate // nil: the engine evaluates it
	pushed    *pushed    // nil: groups evaluate nothing of it

	closed atomic.Bool
	mu     sync.Mutex // of the evaluation under way
	sets   map[string]*matched
	bytes  *limit.Hold
}

// Follow returns a follower. It has to be closed. There is no overlay.
func (e *Engine) Follow(x *Expression, o Options) *Follower {
	return &Follower{
		engine: e, x: x, options: o, aggregate: e.newAggregate(x), pushed: e.push(x, o), sets: map[string]*matched{}, bytes: e.Hold(o.Viewer),
	}
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
		f.pushed.close()
		f.bytes.Release()
	}
}

// Evaluate evaluates the expression at a step, in ms, on behalf of a viewer who is allowed
// the same. One of several at a time profits from those before.
func (f *Follower) Evaluate(ctx context.Context, v selection.Viewer, at int64) (*Result, error) {
	o := f.options
	o.Viewer = v
	whole := span{start: at, end: at}
	if f.pushed == nil && f.x.apart || f.closed.Load() || !f.mu.TryLock() {
		return f.engine.Evaluate(ctx, f.x, at, at, 0, o)
	}
	defer func() {
		f.mu.Unlock()
		f.giveUp()
	}()
	if f.pushed != nil {
		return f.pushed.step(ctx, at, span{start: at, end: Follows}, o)
	}
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

// matched are the series that a selector matches.
type matched struct {
	*samples.Kept
	list []series // those with samples, for the engine
}

// series are those that have samples.
func (m *matched) series() []series {
	if m == nil {
		return nil
	}
	return m.list
}

// find returns what a selector needs at a step, or nil if that is not at hand.
func (f *Follower) find(r *reading, key string, from, to int64, matchers []*labels.Matcher) (*matched, error) {
	source, ok := f.engine.shared.Source.(keeper)
	if !ok {
		return nil, nil
	}
	m := f.sets[key]
	if m == nil {
		m = &matched{Kept: source.Keep(matchers)}
		f.sets[key] = m
	}
	if there, err := m.Find(r.ctx, r.options.Viewer, from, to); !there || err != nil {
		return nil, err
	}
	if err := f.bytes.Resize(f.size()); err != nil {
		delete(f.sets, key)
		return nil, err
	}
	clear(m.list)
	m.list = seriesOf(m.list[:0], m.With, &r.before)
	return m, nil
}

// size is about what the follower keeps.
func (f *Follower) size() (n int64) {
	for _, m := range f.sets {
		n += m.Bytes()
	}
	return n
}
