package pushdown

import (
	"strconv"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Leaf is what each group evaluates for itself, in place of a part of an expression.
type Leaf struct {
	kind     kind
	exprs    []parser.Expr
	selector *parser.VectorSelector
	// name is that which series had before it was dropped, if it was.
	name string
	// order is what the order means of what the leaf results in.
	order order
	// alone says that it is all of the expression.
	alone bool
}

// kind is what becomes of the results of all groups.
type kind int

const (
	union   kind = iota
	sum          // and of what groups have counted
	average      // of sums and of counts
	smallest
	largest
	present
)

var kinds = map[parser.ItemType]kind{
	parser.SUM: sum, parser.COUNT: sum, parser.COUNT_VALUES: sum, parser.AVG: average, parser.MIN: smallest, parser.MAX: largest, parser.GROUP: present,
}

// leafOf returns a part of an expression as a leaf, nil if it is none.
func leafOf(expr parser.Expr, o order) *Leaf {
	if expr.Type() != parser.ValueTypeVector {
		return nil
	}
	if x, ok := expr.(*parser.AggregateExpr); ok {
		k, ok := kinds[x.Op]
		if !ok || o == strict || !lookAt(x.Expr).distinct {
			return nil
		}
		l := &Leaf{kind: k, order: o, exprs: []parser.Expr{x}}
		if k == average {
			sums, counts := *x, *x
			sums.Op, counts.Op = parser.SUM, parser.COUNT
			l.exprs = []parser.Expr{&sums, &counts}
		}
		return l
	}
	if _, ok := expr.(*parser.ParenExpr); ok {
		return nil // What is in it may be one.
	}
	if found := lookAt(expr); found.each && (found.ordered || o == anyOrder) {
		return &Leaf{kind: union, name: found.name, exprs: []parser.Expr{expr}}
	}
	return nil
}

// matcherLabel is of the matchers by which the router's engine selects leaves. Only those
// that are made here count: a matcher of an expression is another one.
const matcherLabel = "__leaf__"

var matchers struct {
	sync.RWMutex
	all    []*labels.Matcher
	number map[*labels.Matcher]int
}

// matcherOf returns the matcher of a leaf. It is a regular expression, so that the engine
// makes no label of it.
func matcherOf(n int) *labels.Matcher {
	matchers.Lock()
	defer matchers.Unlock()
	for i := len(matchers.all); i <= n; i++ {
		m := labels.MustNewMatcher(labels.MatchRegexp, matcherLabel, strconv.Itoa(i))
		if matchers.number == nil {
			matchers.number = map[*labels.Matcher]int{}
		}
		matchers.all, matchers.number[m] = append(matchers.all, m), i
	}
	return matchers.all[n]
}

// LeafOf returns the number of the leaf that a selector stands for.
func LeafOf(selector []*labels.Matcher) (n int, ok bool) {
	if len(selector) == 0 || selector[len(selector)-1].Name != matcherLabel {
		return 0, false
	}
	matchers.RLock()
	defer matchers.RUnlock()
	n, ok = matchers.number[selector[len(selector)-1]]
	return n, ok
}
