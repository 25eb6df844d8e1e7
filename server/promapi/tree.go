package promapi

import (
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

func (a *API) parseQuery(r *request) (*answer, error) {
	x, err := a.parse(r, "query")
	if err != nil {
		return nil, err
	}
	return &answer{data: func(e *encoder) { e.other(tree(x.Expr())) }}, nil
}

// fields of a node.
type fields map[string]any

// tree is an expression as the tree view of Prometheus' page has it.
func tree(x parser.Expr) any {
	switch n := x.(type) {
	case *parser.AggregateExpr:
		return fields{
			"type": "aggregation", "op": n.Op.String(), "expr": tree(n.Expr), "param": tree(n.Param),
			"grouping": listed(n.Grouping), "without": n.Without,
		}
	case *parser.BinaryExpr:
		return fields{
			"type": "binaryExpr", "op": n.Op.String(), "lhs": tree(n.LHS), "rhs": tree(n.RHS),
			"matching": matching(n.VectorMatching), "bool": n.ReturnBool,
		}
	case *parser.Call:
		args := make([]any, len(n.Args))
		for i, arg := range n.Args {
			args[i] = tree(arg)
		}
		f := fields{"name": n.Func.Name, "argTypes": n.Func.ArgTypes, "variadic": n.Func.Variadic, "returnType": n.Func.ReturnType}
		return fields{"type": "call", "func": f, "args": args}
	case *parser.MatrixSelector:
		f := selector(n.VectorSelector.(*parser.VectorSelector))
		f["type"], f["range"], f["rangeExpr"] = "matrixSelector", n.Range.Milliseconds(), duration(n.RangeExpr)
		return f
	case *parser.VectorSelector:
		return selector(n)
	case *parser.SubqueryExpr:
		return fields{
			"type": "subquery", "expr": tree(n.Expr), "range": n.Range.Milliseconds(), "rangeExpr": duration(n.RangeExpr),
			"offset": n.OriginalOffset.Milliseconds(), "offsetExpr": duration(n.OriginalOffsetExpr),
			"step": n.Step.Milliseconds(), "stepExpr": duration(n.StepExpr), "timestamp": n.Timestamp, "startOrEnd": startOrEnd(n.StartOrEnd),
		}
	case *parser.DurationExpr:
		return duration(n)
	case *parser.NumberLiteral:
		return fields{"type": "numberLiteral", "val": strconv.FormatFloat(n.Val, 'f', -1, 64)}
	case *parser.StringLiteral:
		return fields{"type": "stringLiteral", "val": n.Val}
	case *parser.ParenExpr:
		return fields{"type": "parenExpr", "expr": tree(n.Expr)}
	case *parser.UnaryExpr:
		return fields{"type": "unaryExpr", "op": n.Op.String(), "expr": tree(n.Expr)}
	}
	return nil
}

func matching(m *parser.VectorMatching) any {
	if m == nil {
		return nil
	}
	return fields{
		"card": m.Card.String(), "labels": listed(m.MatchingLabels), "on": m.On, "include": listed(m.Include),
		"fillValues": fields{"lhs": m.FillValues.LHS, "rhs": m.FillValues.RHS},
	}
}

func selector(n *parser.VectorSelector) fields {
	return fields{
		"type": "vectorSelector", "name": n.Name, "matchers": matchersOf(n.LabelMatchers),
		"offset": milliseconds(n.OriginalOffset), "offsetExpr": duration(n.OriginalOffsetExpr),
		"timestamp": n.Timestamp, "startOrEnd": startOrEnd(n.StartOrEnd), "anchored": n.Anchored, "smoothed": n.Smoothed,
	}
}

func milliseconds(d time.Duration) int64 { return d.Milliseconds() }

// duration is one that was computed, nil for one that was written as it is.
func duration(x parser.Expr) any {
	switch n := x.(type) {
	case *parser.DurationExpr:
		if n == nil {
			return nil
		}
		return fields{"type": "durationExpr", "op": n.Op.String(), "lhs": duration(n.LHS), "rhs": duration(n.RHS), "wrapped": n.Wrapped}
	case *parser.NumberLiteral:
		if n == nil {
			return nil
		}
		return fields{"type": "numberLiteral", "val": strconv.FormatFloat(n.Val, 'f', -1, 64), "duration": n.Duration}
	}
	return tree(x)
}

func listed(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

func matchersOf(list []*labels.Matcher) []fields {
	all := make([]fields, len(list))
	for i, m := range list {
		all[i] = fields{"name": m.Name, "value": m.Value, "type": m.Type.String()}
	}
	return all
}

func startOrEnd(at parser.ItemType) any {
	if at == 0 {
		return nil
	}
	return at.String()
}
