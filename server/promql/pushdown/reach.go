package pushdown

import (
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Crosses says whether an expression reads samples on both sides of an instant when it is
// evaluated at a step, all in ms. One that moves series from a group to another is such an
// instant: what each group comes to for itself then says nothing of them. The expression is
// changed, and its error one of its durations.
func Crosses(expr parser.Expr, at int64, lookback time.Duration, instants []int64) (bool, error) {
	if len(instants) == 0 {
		return false, nil
	}
	step := time.UnixMilli(at)
	expr, err := promql.PreprocessExpr(expr, step, step, 0)
	if err != nil {
		return false, err
	}
	from, to := promql.FindMinMaxTime(&parser.EvalStmt{Expr: expr, Start: step, End: step, LookbackDelta: lookback})
	for _, instant := range instants {
		if from < instant && instant <= to {
			return true, nil
		}
	}
	return false, nil
}
