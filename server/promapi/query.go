package promapi

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/stats"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/promql"
)

// mostPoints of a series that a range may have.
const mostPoints = 11000

// span is the steps of a query, in ms. A step of 0 is an instant.
type span struct{ start, end, step int64 }

func (a *API) query(r *request) (*answer, error) {
	ms, err := r.time("time", time.Now())
	if err != nil {
		return nil, err
	}
	return a.evaluate(r, span{ms, ms, 0})
}

func (a *API) queryRange(r *request) (*answer, error) {
	s, err := spanOf(r)
	if err != nil {
		return nil, err
	}
	return a.evaluate(r, s)
}

func spanOf(r *request) (span, error) {
	start, err := parseTime(r.Get("start"))
	if err != nil {
		return span{}, invalid("start", err)
	}
	end, err := parseTime(r.Get("end"))
	switch {
	case err != nil:
		return span{}, invalid("end", err)
	case end < start:
		return span{}, invalid("end", errors.New("end timestamp must not be before start time"))
	}
	step, err := parseDuration(r.Get("step"))
	switch {
	case err != nil:
		return span{}, invalid("step", err)
	case step < time.Millisecond:
		return span{}, invalid("step", errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer"))
	case uint64(end-start)/uint64(step.Milliseconds()) > mostPoints: // which may be beyond an int64
		return span{}, bad("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")
	}
	return span{start, end, step.Milliseconds()}, nil
}

// evaluate evaluates the expression of a request.
func (a *API) evaluate(r *request, s span) (*answer, error) {
	most, err := r.limit()
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := r.until()
	if err != nil {
		return nil, err
	}
	defer cancel()
	o := promql.Options{Viewer: r.caller.Viewer}
	if text := r.Get("lookback_delta"); text != "" {
		if o.Lookback, err = parseDuration(text); err != nil {
			return nil, bad(fmt.Sprintf("error parsing lookback delta duration: %v", err))
		}
	}
	x, err := a.parse(r, "query")
	if err != nil {
		return nil, err
	}
	if err := a.Serving(); err != nil {
		return nil, err
	}
	if t := x.Type(); s.step > 0 && t != parser.ValueTypeVector && t != parser.ValueTypeScalar {
		return nil, invalid("query", fmt.Errorf("invalid expression type %q for range query, must be Scalar or instant Vector", parser.DocumentedType(t)))
	}
	result, err := a.Engine.Evaluate(ctx, x, s.start, s.end, s.step, o)
	if err != nil {
		return nil, err
	}
	held := a.Engine.Hold(r.caller.Viewer)
	if err := held.Resize(sizeOf(result.Value)); err != nil {
		return nil, err
	}
	return answerOf(r, x, result, most, held), nil
}

// parse parses the expression of a request. Its error is about a parameter, as [inText]
// has it.
func (a *API) parse(r *request, parameter string) (*promql.Expression, error) {
	x, err := a.Engine.Parse(r.ctx, r.caller.Viewer, r.Get("query"))
	if err != nil {
		return nil, inText(parameter, err)
	}
	return x, nil
}

// answerOf is the answer that has a result, or as much of it as is wanted, 0 being all.
// What it is made from is held until it is sent.
func answerOf(r *request, x *promql.Expression, result *promql.Result, most int, held *limit.Hold) *answer {
	if most == 0 {
		most = math.MaxInt
	}
	value, truncated := truncate(result.Value, most)
	notes := result.Annotations
	if truncated {
		notes.Add(errTruncated)
	}
	statistics := r.Get("stats")
	if statistics != "" && statistics != "true" && statistics != "all" {
		notes.Add(fmt.Errorf("value %q for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\"", excerpt(statistics)))
	}
	const notesShown = 10 // of each kind, as Prometheus has it
	warnings, infos := notes.AsStrings(x.Source(), notesShown, notesShown)
	return &answer{
		data: func(e *encoder) {
			e.result(value)
			if statistics != "" && result.Statistics != nil {
				e.raw(`,"stats":`)
				e.other(stats.NewQueryStats(result.Statistics))
			}
			e.raw("}")
		},
		warnings: warnings, infos: infos, release: held.Release,
	}
}

// errTruncated is what a caller is told that gets no more than it wanted.
var errTruncated = errors.New("results truncated due to limit")

// truncate leaves so many series of a value.
func truncate(v parser.Value, limit int) (parser.Value, bool) {
	switch list := v.(type) {
	case promql.Vector:
		if len(list) > limit {
			return list[:limit], true
		}
	case promql.Matrix:
		if len(list) > limit {
			return list[:limit], true
		}
	}
	return v, false
}

func (a *API) formatQuery(r *request) (*answer, error) {
	x, err := a.parse(r, "query")
	if err != nil {
		return nil, err
	}
	return &answer{data: func(e *encoder) { e.text(x.Expr().Pretty(0)) }}, nil
}
