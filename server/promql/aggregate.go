package promql

import (
	"math"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/schema"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/kahansum"

	"github.com/promgrpc/exporter/server/samples"
)

// aggregate is an expression that a follower evaluates by itself: sum, avg, count, min or
// max, by or without labels, of a selector of one metric, or of its rate or increase. The
// rates are those of the engine's own functions. Where there are histograms, the engine
// does it all.
type aggregate struct {
	expr     *parser.AggregateExpr
	selector *parser.VectorSelector
	// Of a rate or an increase; call is nil for neither.
	call  promql.FunctionCall
	args  parser.Expressions
	width int64 // of the range, or the lookback if it is 0, in ms
	// offset in ms
	offset   int64
	grouping []string
	// plain says that the name promises no counter.
	plain bool

	groups []group
	number map[string]int // of the groups, by the bytes of their labels
	bytes  []byte
	order  []int // of the groups that have a value, in the order of their series
	matrix promql.Matrix
	helper promql.EvalNodeHelper
	it     samples.Iterator
}

// group is what series come to that are aggregated together.
type group struct {
	labels      labels.Labels
	seen        bool
	incremental bool // the mean is, since the sum is too large
	value, mean float64
	lost        float64 // what sum or mean lack, by Kahan
	count       float64
}

// newAggregate returns the expression as an aggregate, nil if it is none.
func (e *Engine) newAggregate(x *Expression) *aggregate {
	// Annotations have the places in the text that the engine is given.
	parsed, err := e.parser.ParseExpr(x.source)
	if err != nil {
		return nil
	}
	expr, ok := unwrapped(parsed).(*parser.AggregateExpr)
	if !ok || !slices.Contains([]parser.ItemType{parser.SUM, parser.AVG, parser.COUNT, parser.MIN, parser.MAX}, expr.Op) {
		return nil
	}
	a := &aggregate{expr: expr, number: map[string]int{}, matrix: make(promql.Matrix, 1), grouping: slices.Clone(expr.Grouping)}
	slices.Sort(a.grouping)
	inner := unwrapped(expr.Expr)
	if call, ok := inner.(*parser.Call); ok && (call.Func.Name == "rate" || call.Func.Name == "increase") {
		ranged, ok := call.Args[0].(*parser.MatrixSelector)
		if !ok || ranged.RangeExpr != nil {
			return nil
		}
		a.call, a.args, a.width = promql.FunctionCalls[call.Func.Name], call.Args, ranged.Range.Milliseconds()
		inner = ranged.VectorSelector
	}
	if a.selector, ok = inner.(*parser.VectorSelector); !ok || !a.takes(a.selector) {
		return nil
	}
	a.selector.Offset = a.selector.OriginalOffset
	a.offset = a.selector.Offset.Milliseconds()
	return a
}

func unwrapped(expr parser.Expr) parser.Expr {
	for {
		paren, ok := expr.(*parser.ParenExpr)
		if !ok {
			return expr
		}
		expr = paren.Expr
	}
}

// takes says whether a selector is one of a single metric, at the steps.
func (a *aggregate) takes(s *parser.VectorSelector) bool {
	if s.Timestamp != nil || s.StartOrEnd != 0 || s.OriginalOffsetExpr != nil || s.Anchored || s.Smoothed {
		return false
	}
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual && m.Value != "" {
			a.plain = !slices.ContainsFunc([]string{"_total", "_sum", "_count", "_bucket"}, func(suffix string) bool { return strings.HasSuffix(m.Value, suffix) })
			return true
		}
	}
	return false
}

// evaluate evaluates the aggregate at a step, or returns nil if the engine has to do it.
func (a *aggregate) evaluate(v *evaluation, at int64) (*Result, error) {
	r := v.reading
	r.run = span{start: at, end: at}
	if v.options.Delay != nil {
		r.before = at + v.options.Delay.Milliseconds()
	}
	width := a.width
	if a.call == nil {
		width = r.lookback()
	}
	last := at - a.offset
	hints := &storage.SelectHints{Start: last - width + 1, End: last}
	m, err := r.follower.find(r, r.keyOf(hints.Start, hints.End, a.selector.LabelMatchers), hints.Start, hints.End, a.selector.LabelMatchers)
	if m == nil || err != nil {
		return nil, err
	}
	if err := r.scan(m.list, hints); err != nil {
		return nil, err
	}
	a.start(m)
	some := false
	for i, s := range m.All {
		if i%checkEvery == 0 && v.ctx.Err() != nil {
			return nil, v.ctx.Err()
		}
		if len(s.Parts) == 0 {
			continue
		}
		f, has, floats, err := a.valueOf(s, at, width, r.before)
		if err != nil {
			return nil, err
		}
		if !floats {
			r.follower.aggregate = nil // There will be more of them.
			return nil, nil
		}
		if has {
			some = true
			a.add(s, f)
		}
	}
	result := &Result{Value: a.result(at), Late: r.late}
	if some && a.call != nil && a.plain {
		name := m.All[0].Labels.Get(model.MetricNameLabel)
		result.Annotations.Add(annotations.NewPossibleNonCounterInfo(name, a.args[0].PositionRange()))
	}
	return result, nil
}

// checkEvery is how many series pass before it is checked that somebody still wants the
// result.
const checkEvery = 256

// valueOf returns the value of a series at a step, whether it has one, and whether all
// that was read are floats.
func (a *aggregate) valueOf(s *samples.KeptSeries, at, width, before int64) (f float64, some, floats bool, err error) {
	last := at - a.offset
	points := a.matrix[0].Floats[:0]
	a.it.Reset(s.Parts, before)
	for kind := a.it.Seek(last - width + 1); kind != chunkenc.ValNone; kind = a.it.Next() {
		if kind != chunkenc.ValFloat {
			return 0, false, false, nil
		}
		t, f := a.it.At()
		if t > last {
			break
		}
		switch {
		case a.call == nil:
			points = append(points[:0], promql.FPoint{T: t, F: f})
		case !value.IsStaleNaN(f):
			points = append(points, promql.FPoint{T: t, F: f})
		}
	}
	if err := a.it.Err(); err != nil {
		return 0, false, false, err
	}
	a.matrix[0].Metric, a.matrix[0].Floats = s.Labels, points
	if len(points) == 0 {
		return 0, false, true, nil
	}
	if a.call == nil {
		f = points[len(points)-1].F
		return f, !value.IsStaleNaN(f), true, nil
	}
	a.helper.Ts = at
	out, _ := a.call(nil, a.matrix, a.args, &a.helper)
	if a.helper.Out = out[:0]; len(out) == 0 {
		return 0, false, true, nil
	}
	return out[0].F, true, true, nil
}

// manyGroups is how many there are before those are forgotten that have no series.
const manyGroups = 1000

// start forgets the values of the step before, and groups if most have had none.
func (a *aggregate) start(m *matched) {
	if len(a.groups) > manyGroups+2*len(a.order) {
		a.groups = nil
		clear(a.number)
		for _, s := range m.All {
			s.Number = 0
		}
	}
	for i := range a.groups {
		a.groups[i].seen = false
	}
	a.order = a.order[:0]
}

// groupOf returns the number of the group of a series, plus 1.
func (a *aggregate) groupOf(s *samples.KeptSeries) int {
	if s.Number == 0 {
		ls := a.labelsOf(s.Labels)
		a.bytes = ls.Bytes(a.bytes)
		n, ok := a.number[string(a.bytes)]
		if !ok {
			n = len(a.groups)
			a.groups = append(a.groups, group{labels: ls})
			a.number[string(a.bytes)] = n
		}
		s.Number = n + 1
	}
	return s.Number
}

// labelsOf returns those of the group of a series.
func (a *aggregate) labelsOf(ls labels.Labels) labels.Labels {
	if a.call != nil {
		ls = ls.DropReserved(schema.IsMetadataLabel)
	}
	b := labels.NewBuilder(ls)
	if a.expr.Without {
		return b.Del(a.grouping...).Del(model.MetricNameLabel).Labels()
	}
	if len(a.grouping) == 0 {
		return labels.EmptyLabels()
	}
	return b.Keep(a.grouping...).Labels()
}

// add adds the value of a series to its group, as the engine does it.
func (a *aggregate) add(s *samples.KeptSeries, f float64) {
	n := a.groupOf(s) - 1
	g := &a.groups[n]
	if !g.seen {
		*g = group{labels: g.labels, seen: true, value: f, mean: f, count: 1}
		a.order = append(a.order, n)
		return
	}
	switch a.expr.Op {
	case parser.SUM:
		g.value, g.lost = kahansum.Inc(f, g.value, g.lost)
	case parser.AVG:
		g.average(f)
	case parser.COUNT:
		g.count++
	case parser.MAX:
		if g.value < f || math.IsNaN(g.value) {
			g.value = f
		}
	case parser.MIN:
		if g.value > f || math.IsNaN(g.value) {
			g.value = f
		}
	}
}

// average adds a value to the sum or, where that is too large, to the mean.
func (g *group) average(f float64) {
	g.count++
	if !g.incremental {
		sum, lost := kahansum.Inc(f, g.value, g.lost)
		if !math.IsInf(sum, 0) {
			g.value, g.lost = sum, lost
			return
		}
		g.incremental = true
		g.mean = g.value / (g.count - 1)
		g.lost /= g.count - 1
	}
	q := (g.count - 1) / g.count
	g.mean, g.lost = kahansum.Inc(f/g.count, q*g.mean, q*g.lost)
}

// result returns the values of all groups.
func (a *aggregate) result(at int64) Vector {
	v := make(Vector, 0, len(a.order))
	for _, n := range a.order {
		g := &a.groups[n]
		f := g.value
		switch {
		case a.expr.Op == parser.SUM:
			f += g.lost
		case a.expr.Op == parser.COUNT:
			f = g.count
		case a.expr.Op == parser.AVG && g.incremental:
			f = g.mean + g.lost
		case a.expr.Op == parser.AVG:
			f = g.value/g.count + g.lost/g.count
		}
		v = append(v, Sample{Metric: g.labels, T: at, F: f, DropName: a.call != nil})
	}
	return v
}
