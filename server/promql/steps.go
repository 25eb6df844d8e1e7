package promql

import (
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promgrpc/exporter/internal/limit"
)

// stepBytes is what the engine makes for each step of a subquery, whatever it finds: two
// counters, a point, and a copy of it to be sorted for a quantile.
const stepBytes = 96

// checkSteps checks how many steps an expression takes with those of its subqueries, for
// which the engine makes room before it evaluates anything, and returns that number.
func (v *evaluation) checkSteps(s span) (int64, error) {
	expr := v.x.expr
	if v.x.apart { // its durations may depend on the steps
		parsed, err := v.engine.parser.ParseExpr(v.x.source)
		if err != nil {
			return 0, err
		}
		step := time.Duration(s.step) * time.Millisecond
		if expr, err = promql.PreprocessExpr(parsed, time.UnixMilli(s.start), time.UnixMilli(s.end), step); err != nil {
			return 0, err
		}
	}
	n := s.steps() + stepsIn(expr, s.end-s.start)
	if most := v.engine.config.Samples; n > most {
		return 0, limit.Over(FlagSamples, "the expression takes %d steps with those of its subqueries, %d are allowed", n, most)
	}
	return n, nil
}

// stepsIn is how many steps the subqueries of an expression take that is evaluated over a
// time in ms.
func stepsIn(node parser.Node, width int64) (n int64) {
	if invariant, ok := node.(*parser.StepInvariantExpr); ok {
		return stepsIn(invariant.Expr, width)
	}
	if s, ok := node.(*parser.SubqueryExpr); ok {
		step := s.Step
		if step == 0 {
			step = subqueryStep
		}
		width += s.Range.Milliseconds()
		n = width/max(1, step.Milliseconds()) + 1
	}
	for child := range parser.ChildrenIter(node) {
		n += stepsIn(child, width)
	}
	return n
}
