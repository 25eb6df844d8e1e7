package promql

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/promql/pushdown"
	"github.com/promgrpc/exporter/server/selection"
)

// Groups each have a share of the series, and evaluate expressions over it for a router.
type Groups interface {
	// Apart are the times, in ms, at which series move from a group to another. It is not
	// ok if a series may be in two groups at once.
	Apart() (moved []int64, ok bool)
	// Ask has all groups evaluate something, step by step. What it returns is closed.
	Ask(Asked) Asking
	// Came is told of each step that groups could evaluate parts of whether the expression
	// was evaluated whole nevertheless.
	Came(whole bool)
}

// Asked is what groups evaluate.
type Asked struct {
	Text string
	// Step is the time between two steps. 0: there is one.
	Step            time.Duration
	Delay, Lookback time.Duration
	// From is the first step, in ms, and To the last that will be asked for.
	From, To int64
	// Hold is of whom it is for, for what comes of it.
	Hold *limit.Hold
}

// Asking is what groups evaluate at the moment.
type Asking interface {
	// At waits for what all groups come to at a step, in the order of the groups' names.
	// Steps are asked for in their order, and may be left out. [pushdown.ErrWhole] says
	// that a group cannot evaluate it.
	At(ctx context.Context, at int64) ([]Answer, error)
	Close()
}

// Answer is what a group comes to at a step.
type Answer struct {
	Samples Vector
	// Annotations as they are sent.
	Annotations []string
	Late        uint64
}

// Follows is the last step of what goes on.
const Follows = math.MaxInt64

// pushed is an expression of which groups evaluate the leaves. It belongs to one evaluation
// at a time.
type pushed struct {
	engine *Engine
	x      *Expression
	plan   *pushdown.Plan
	leaves []pushedLeaf
}

// pushedLeaf is a leaf, and what is asked for it.
type pushedLeaf struct {
	*pushdown.Leaf
	texts  []string
	asking []Asking // none yet
}

// push returns the expression as one of which groups evaluate the leaves, or nil if there
// are no groups, or none that could: each has to know what had arrived at a time, see what
// the viewer sees, and have all that the expression reads.
func (e *Engine) push(x *Expression, o Options) *pushed {
	if e.shared.Groups == nil || o.Delay == nil || reads(x, o) {
		return nil
	}
	allowed, ok := allowedTo(o.Viewer)
	if !ok {
		return nil
	}
	expr, err := e.parser.ParseExpr(x.source)
	if err != nil {
		return nil
	}
	p := &pushed{engine: e, x: x, plan: pushdown.Split(expr)}
	for _, leaf := range p.plan.Leaves {
		texts, err := leaf.Texts(e.parser, allowed)
		if err != nil {
			return nil
		}
		p.leaves = append(p.leaves, pushedLeaf{Leaf: leaf, texts: texts})
	}
	if len(p.leaves) == 0 {
		return nil
	}
	return p
}

// reads says whether an expression may read the overlay.
func reads(x *Expression, o Options) bool {
	if len(o.Overlay) == 0 {
		return false
	}
	for _, s := range x.Selectors() {
		for i := range o.Overlay {
			if matches(o.Overlay[i].Labels, s.Matchers) {
				return true
			}
		}
	}
	return false
}

// allowedTo returns the matchers of all that a viewer sees, none if that is everything. It
// is not ok if no single selector says it.
func allowedTo(v selection.Viewer) (_ []*labels.Matcher, ok bool) {
	switch {
	case v.Allowed == nil:
		return nil, true
	case v.Allowed.Allowed != nil || len(v.Allowed.Selectors) != 1:
		return nil, false
	}
	return v.Allowed.Selectors[0], true
}

// close gives up what groups evaluate.
func (p *pushed) close() {
	if p == nil {
		return
	}
	for i := range p.leaves {
		for _, a := range p.leaves[i].asking {
			a.Close()
		}
		p.leaves[i].asking = nil
	}
}

// steps evaluates the steps of a range.
func (p *pushed) steps(ctx context.Context, whole span, o Options) (*Result, error) {
	if whole.step == 0 {
		return p.step(ctx, whole.start, whole, o)
	}
	var j joint
	for at := whole.start; at <= whole.end; at += whole.step {
		one, err := p.step(ctx, at, whole, o)
		if err != nil {
			return nil, err
		}
		one.Value = asMatrix(one.Value, at)
		j.add(one)
	}
	return j.result(), nil
}

// step evaluates one step of some that are asked for.
func (p *pushed) step(ctx context.Context, at int64, all span, o Options) (*Result, error) {
	possible, err := p.isPossible(at, o)
	if err != nil {
		return nil, err
	}
	if possible {
		result, err := p.together(ctx, at, all, o)
		if !errors.Is(err, pushdown.ErrWhole) {
			p.engine.shared.Groups.Came(false)
			return result, err
		}
	}
	p.engine.shared.Groups.Came(true)
	return p.engine.evaluateWhole(ctx, p.x, span{start: at, end: at}, o)
}

// isPossible says whether no series is in two groups, and none moves within what the
// expression reads at a step.
func (p *pushed) isPossible(at int64, o Options) (bool, error) {
	moved, apart := p.engine.shared.Groups.Apart()
	if !apart || len(moved) == 0 {
		return apart, nil
	}
	expr, err := p.engine.parser.ParseExpr(p.x.source)
	if err != nil {
		return false, err
	}
	crosses, err := pushdown.Crosses(expr, at, p.engine.lookback(o), moved)
	return !crosses, err
}

// together makes of the groups' results what the expression comes to. If the engine fails
// on them, the expression as a whole says why.
func (p *pushed) together(ctx context.Context, at int64, all span, o Options) (*Result, error) {
	hold := p.engine.Hold(o.Viewer)
	defer hold.Release()
	leaves := make([]leafResult, len(p.leaves))
	late := uint64(0)
	for i := range p.leaves {
		missed, err := p.merge(ctx, &leaves[i], i, at, all, o, hold)
		if err != nil {
			return nil, err
		}
		late += missed
	}
	result, err := p.engine.inTurn(ctx, p.x, span{start: at, end: at}, o, func(v *evaluation) (*Result, error) {
		v.reading.leaves = leaves
		result, err := v.run(span{start: at, end: at})
		var over *limit.Error
		if err != nil && v.reading.failure == nil && !errors.As(v.failed(err), &over) && ctx.Err() == nil {
			err = pushdown.ErrWhole
		}
		return result, err
	})
	if err != nil {
		return nil, err
	}
	if o.Late > 0 {
		result.Late += late
	}
	result.Statistics = nil
	return result, nil
}

// leafResult is what a leaf comes to at a step.
type leafResult struct {
	samples     Vector
	annotations annotations.Annotations
}

// merge makes of what groups answer what a leaf comes to, and returns how many samples were
// late.
func (p *pushed) merge(ctx context.Context, into *leafResult, i int, at int64, all span, o Options, hold *limit.Hold) (late uint64, err error) {
	l := &p.leaves[i]
	l.ask(p.engine, at, all, o)
	var groups [][]Vector
	for j, asking := range l.asking {
		answers, err := asking.At(ctx, at)
		if err != nil {
			return 0, err
		}
		if groups == nil {
			groups = make([][]Vector, len(answers))
		}
		for g, a := range answers {
			if groups[g] = append(groups[g], a.Samples); j > 0 {
				continue
			}
			late += a.Late
			if !l.Allows(a.Annotations) {
				return 0, pushdown.ErrWhole
			}
			into.annotations.Merge(l.Notes(p.engine.parser, l.texts[0], a.Annotations))
			if err := hold.Grow(sampleBytes * int64(len(a.Samples))); err != nil {
				return 0, err
			}
		}
	}
	into.samples, err = l.Merge(groups)
	return late, err
}

// sampleBytes is about what a sample of a leaf takes, merged.
const sampleBytes = 64

// ask has groups evaluate the leaf from a step on, unless they do.
func (l *pushedLeaf) ask(e *Engine, at int64, all span, o Options) {
	if l.asking != nil {
		return
	}
	for _, text := range l.texts {
		l.asking = append(l.asking, e.shared.Groups.Ask(Asked{
			Text: text, From: at, To: all.end, Hold: e.Hold(o.Viewer),
			Step: time.Duration(o.Late) * time.Millisecond, Delay: *o.Delay, Lookback: e.lookback(o),
		}))
	}
}
