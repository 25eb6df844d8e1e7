package promql

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promgrpc/exporter/server/selection"
)

// SyntaxError is an expression that does not parse.
type SyntaxError struct {
	Start, End int // bytes of the text that are wrong
	Reason     string
	// Printed is what Prometheus prints of it, with the line and the column.
	Printed string
}

func (e *SyntaxError) Error() string { return "the expression does not parse: " + e.Reason }

// Expression is one that was parsed. It may be evaluated by many at a time.
type Expression struct {
	source    string // what is evaluated, and what places in annotations are of
	text      string
	expr      parser.Expr // is never changed
	apart     bool        // each step has to be evaluated on its own
	unordered bool        // so it has if the result is to be the same each time
	growth    size        // of labels
}

// Parse parses an expression of a viewer, unless its regular expressions are larger than
// the limit. Its error is a *[SyntaxError] or one of a limit.
func (e *Engine) Parse(ctx context.Context, v selection.Viewer, text string) (*Expression, error) {
	if err := e.config.checkOperations(text); err != nil {
		return nil, err
	}
	evaluation := e.shared.Evaluations.New(ctx, v)
	defer evaluation.End()
	if err := evaluation.Measure(text); err != nil {
		return nil, err
	}
	expr, err := e.parser.ParseExpr(text)
	if err != nil {
		return nil, newSyntaxError(text, err)
	}
	return &Expression{source: text, text: expr.String(), expr: expr, apart: apart(expr), unordered: unordered(expr), growth: growth(expr)}, nil
}

// ParseSelectors parses series selectors, as Parse does an expression.
func (e *Engine) ParseSelectors(ctx context.Context, v selection.Viewer, texts []string) ([][]*labels.Matcher, error) {
	evaluation := e.shared.Evaluations.New(ctx, v)
	defer evaluation.End()
	if err := evaluation.Measure(texts...); err != nil {
		return nil, err
	}
	sets := make([][]*labels.Matcher, len(texts))
	for i, text := range texts {
		var err error
		if sets[i], err = e.parser.ParseMetricSelector(text); err != nil {
			return nil, newSyntaxError(text, err)
		}
	}
	return sets, nil
}

// newSyntaxError takes the position from the parser's error.
func newSyntaxError(text string, err error) *SyntaxError {
	start, end, reason := selection.Wrong(text, err)
	return &SyntaxError{Start: start, End: end, Reason: reason, Printed: err.Error()}
}

// Text is the expression as Prometheus prints it, which is the same for those that differ
// in spaces only.
func (x *Expression) Text() string { return x.text }

// Source is the text that is evaluated, and that places in annotations are of.
func (x *Expression) Source() string { return x.source }

// Canonical is the same expression with [Expression.Text] as its source, so that the places
// in its annotations are the same for all who share it.
func (x *Expression) Canonical() *Expression {
	canonical := *x
	canonical.source = x.text
	return &canonical
}

// Expr is the expression as it was parsed. It must not be changed.
func (x *Expression) Expr() parser.Expr { return x.expr }

// Type is what it results in.
func (x *Expression) Type() parser.ValueType { return x.expr.Type() }

// Selector is a vector selector of an expression.
type Selector struct {
	Name     string
	Matchers []*labels.Matcher
	// Range of a range selector, and the offset, 0 for none. One that is an expression of
	// durations counts as 1.
	Range, Offset time.Duration
	// At says that it has an @, and Subquery that it is within a subquery.
	At, Subquery bool
}

// Selectors are those in an expression, from left to right.
func (x *Expression) Selectors() []Selector {
	var found []Selector
	parser.Inspect(x.expr, func(node parser.Node, path []parser.Node) error {
		n, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		s := Selector{
			Name: n.Name, Matchers: n.LabelMatchers,
			Offset: durationOf(n.OriginalOffset, n.OriginalOffsetExpr),
			At:     n.Timestamp != nil || n.StartOrEnd != 0,
		}
		for _, above := range path {
			switch a := above.(type) {
			case *parser.MatrixSelector:
				s.Range = durationOf(a.Range, a.RangeExpr)
			case *parser.SubqueryExpr:
				s.Subquery = true
			}
		}
		found = append(found, s)
		return nil
	})
	return found
}

// durationOf returns a duration, or 1 for one that depends on the evaluation.
func durationOf(d time.Duration, x *parser.DurationExpr) time.Duration {
	if x != nil {
		return 1
	}
	return d
}
