package pushdown

import (
	"fmt"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Texts are what each group is asked to evaluate, of the series alone that some matchers
// match, too. What the first of them leaves out as late, and its annotations, are the
// leaf's. The second of an average is of the same series.
func (l *Leaf) Texts(p parser.Parser, allowed []*labels.Matcher) ([]string, error) {
	texts := make([]string, len(l.exprs))
	for i, expr := range l.exprs {
		texts[i] = expr.String()
		if len(allowed) == 0 {
			continue
		}
		parsed, err := p.ParseExpr(texts[i])
		if err != nil {
			return nil, fmt.Errorf("%q, a part of the expression: %w", texts[i], err)
		}
		restrict(parsed, allowed)
		texts[i] = parsed.String()
	}
	return texts, nil
}

// restrict has all selectors of an expression match what some matchers match, too.
func restrict(expr parser.Expr, allowed []*labels.Matcher) {
	ofName := slices.ContainsFunc(allowed, func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel })
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			s.LabelMatchers = append(s.LabelMatchers, allowed...)
			if ofName {
				s.Name = "" // There may not be matchers of a name besides.
			}
		}
		return nil
	})
}
