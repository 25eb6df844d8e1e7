package pushdown

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// look is what a part of an expression makes of series.
type look struct {
	// each says that it makes of each series one at most, and looks at no other.
	each bool
	// distinct says that series which it makes of different ones have different labels.
	distinct bool
	// name is that of all series that it is made of. Empty: they may have several.
	name string
	// ordered says that they come in the order of the labels that the series had, with
	// the name in the place of that which was dropped.
	ordered bool
}

// lookAt looks at a part of an expression.
func lookAt(expr parser.Expr) look {
	switch x := expr.(type) {
	case *parser.ParenExpr:
		return lookAt(x.Expr)
	case *parser.VectorSelector:
		if x.StartOrEnd != 0 || x.OriginalOffsetExpr != nil || x.Anchored || x.Smoothed {
			return look{}
		}
		return look{each: true, distinct: true, name: nameOf(x), ordered: true}
	case *parser.MatrixSelector:
		if x.RangeExpr != nil {
			return look{}
		}
		return lookAt(x.VectorSelector)
	case *parser.SubqueryExpr:
		return lookAtSubquery(x)
	case *parser.UnaryExpr:
		if l := lookAt(x.Expr).unnamed(); l.distinct {
			return l
		}
		return look{} // The engine puts series with the same labels together.
	case *parser.BinaryExpr:
		return lookAtBinary(x)
	case *parser.Call:
		return lookAtCall(x)
	}
	return look{}
}

// unnamed is what it is of once the name is dropped.
func (l look) unnamed() look {
	if !l.each || !l.distinct {
		return look{}
	}
	l.distinct, l.ordered = l.name != "", l.ordered && l.name != ""
	return l
}

// nameOf is the name that all series have which a selector matches.
func nameOf(s *parser.VectorSelector) string {
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

func lookAtSubquery(x *parser.SubqueryExpr) look {
	if x.StartOrEnd != 0 || x.OriginalOffsetExpr != nil || x.RangeExpr != nil || x.StepExpr != nil {
		return look{}
	}
	l := lookAt(x.Expr)
	if !l.distinct {
		return look{}
	}
	l.ordered = false // The engine has the order of a map.
	return l
}

func lookAtBinary(x *parser.BinaryExpr) look {
	series, scalar := x.LHS, x.RHS
	if series.Type() == parser.ValueTypeScalar {
		series, scalar = scalar, series
	}
	if series.Type() != parser.ValueTypeVector || !isEverywhere(scalar) {
		return look{}
	}
	l := lookAt(series)
	if x.Op.IsComparisonOperator() && !x.ReturnBool {
		if !l.distinct {
			return look{}
		}
		return l
	}
	return l.unnamed()
}

func lookAtCall(x *parser.Call) look {
	if functions[x.Func.Name] != single {
		return look{}
	}
	found, n := look{}, 0
	for _, arg := range x.Args {
		switch arg.Type() {
		case parser.ValueTypeVector, parser.ValueTypeMatrix:
			found = lookAt(arg)
			n++
		default:
			if !isEverywhere(arg) {
				return look{}
			}
		}
	}
	if n != 1 {
		return look{}
	}
	return found.unnamed()
}

// isEverywhere says whether a scalar is the same at every group.
func isEverywhere(expr parser.Expr) bool {
	switch x := expr.(type) {
	case *parser.NumberLiteral:
		return true
	case *parser.ParenExpr:
		return isEverywhere(x.Expr)
	case *parser.UnaryExpr:
		return isEverywhere(x.Expr)
	case *parser.BinaryExpr:
		return isEverywhere(x.LHS) && isEverywhere(x.RHS)
	case *parser.Call:
		for _, arg := range x.Args {
			if !isEverywhere(arg) {
				return false
			}
		}
		return functions[x.Func.Name] == scalars
	}
	return false
}
