package promql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promgrpc/exporter/internal/limit"
)

// evaluation is one of an expression, by as many runs of Prometheus' engine as it takes.
type evaluation struct {
	ctx     context.Context
	engine  *Engine
	x       *Expression
	options Options
	reading *reading
}

// evaluate evaluates all steps.
func (v *evaluation) evaluate(whole span) (*Result, error) {
	switch {
	case v.options.Delay == nil || whole.step == 0:
		return v.run(whole)
	case v.x.apart || v.x.unordered:
		return v.stepByStep(whole)
	}
	return v.inPieces(whole)
}

// stepByStep evaluates each step by itself.
func (v *evaluation) stepByStep(whole span) (*Result, error) {
	var j joint
	for at := whole.start; at <= whole.end; at += whole.step {
		one, err := v.run(span{start: at, end: at})
		if err != nil {
			return nil, err
		}
		one.Value = asMatrix(one.Value, at)
		j.add(one)
	}
	return j.result(), nil
}

// inPieces evaluates as many steps at a time as see the same samples.
func (v *evaluation) inPieces(whole span) (*Result, error) {
	var j joint
	var cuts []int64 // ascending: the last steps of pieces
	for at := whole.start; at <= whole.end; {
		end := whole.end
		if i, _ := slices.BinarySearch(cuts, at); i < len(cuts) {
			end = cuts[i]
		}
		piece, err := v.run(span{at, end, whole.step})
		var cut *cutError
		if errors.As(err, &cut) {
			cuts = append(cuts, cut.after...)
			slices.Sort(cuts)
			continue
		}
		if err != nil {
			return nil, err
		}
		if at == whole.start && end == whole.end {
			return piece, nil
		}
		j.add(piece)
		at = end + whole.step
	}
	return j.result(), nil
}

// guarded makes an error of a panic. The engine does so itself, but only while it evaluates.
func (v *evaluation) guarded(evaluate func(*evaluation) (*Result, error)) (_ *Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the evaluation of %s broke off: %v", v.x.text, p)
		}
	}()
	return evaluate(v)
}

// run has the engine evaluate some steps at once.
func (v *evaluation) run(s span) (*Result, error) {
	r := v.reading
	r.run, r.late, r.failure = s, 0, nil
	if v.options.Delay != nil {
		r.before = s.end + v.options.Delay.Milliseconds()
	}
	steps, err := v.checkSteps(s)
	if err != nil {
		return nil, err
	}
	if err := r.grow(stepBytes * steps); err != nil {
		return nil, err
	}
	defer r.release(stepBytes * steps)
	if err := r.begin(v.x.growth); err != nil {
		return nil, err
	}
	query, err := v.query(s)
	if err != nil {
		return nil, err
	}
	got := query.Exec(v.ctx)
	defer closeUnless(got.Value, query)
	if r.failure != nil {
		return nil, r.failure
	}
	if got.Err != nil {
		return nil, got.Err
	}
	return &Result{Value: got.Value, Annotations: got.Warnings, Late: r.late, Statistics: query.Stats()}, nil
}

func (v *evaluation) query(s span) (promql.Query, error) {
	options := promql.NewPrometheusQueryOpts(false, v.options.Lookback)
	engine, start, end := v.engine.engine, time.UnixMilli(s.start), time.UnixMilli(s.end)
	if v.reading.leaves != nil {
		engine = v.engine.joining
	}
	if s.step == 0 {
		return engine.NewInstantQuery(v.ctx, v.reading, options, v.x.source, start)
	}
	return engine.NewRangeQuery(v.ctx, v.reading, options, v.x.source, start, end, time.Duration(s.step)*time.Millisecond)
}

// failed makes errors of limits out of the engine's.
func (v *evaluation) failed(err error) error {
	var known *limit.Error
	var samples promql.ErrTooManySamples
	switch {
	case errors.As(err, &known):
		return known
	case v.ctx.Err() != nil:
		return context.Cause(v.ctx)
	case errors.As(err, &samples):
		return limit.Over(FlagSamples, "the evaluation holds more than %d samples", v.engine.config.Samples)
	}
	return err
}

// closeUnless gives back what the engine uses again, unless it is in a value.
func closeUnless(v parser.Value, query promql.Query) {
	switch v := v.(type) {
	case promql.Matrix:
		return
	case promql.Vector:
		if slices.ContainsFunc(v, func(s Sample) bool { return s.H != nil }) {
			return
		}
	}
	query.Close()
}

// asMatrix returns the result at a step as a range has it.
func asMatrix(v parser.Value, at int64) Matrix {
	switch v := v.(type) {
	case Vector:
		m := make(Matrix, 0, len(v))
		for _, s := range v {
			if s.H != nil {
				m = append(m, Series{Metric: s.Metric, Histograms: []HPoint{{T: at, H: s.H}}})
			} else {
				m = append(m, Series{Metric: s.Metric, Floats: []FPoint{{T: at, F: s.F}}})
			}
		}
		return m
	case Scalar:
		return Matrix{{Floats: []FPoint{{T: at, F: v.V}}}}
	}
	return nil
}

// joint is the results of consecutive pieces.
type joint struct {
	all    Result
	series map[string]*Series // by the bytes of their labels
	key    []byte
}

func (j *joint) add(piece *Result) {
	j.all.Late += piece.Late
	j.all.Annotations.Merge(piece.Annotations)
	if j.series == nil {
		j.series = map[string]*Series{}
	}
	for _, s := range piece.Value.(Matrix) {
		j.key = s.Metric.Bytes(j.key)
		known := j.series[string(j.key)]
		if known == nil {
			j.series[string(j.key)] = &s
			continue
		}
		known.Floats, known.Histograms = append(known.Floats, s.Floats...), append(known.Histograms, s.Histograms...)
	}
}

func (j *joint) result() *Result {
	m := make(Matrix, 0, len(j.series))
	for _, s := range j.series {
		m = append(m, *s)
	}
	sort.Slice(m, func(a, b int) bool { return labels.Compare(m[a].Metric, m[b].Metric) < 0 })
	j.all.Value = m
	return &j.all
}
