package pushdown

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// Plan is an expression that was split.
type Plan struct {
	// Expr is what the router evaluates, with selectors in the places of the leaves: see
	// [LeafOf].
	Expr   parser.Expr
	Leaves []*Leaf
}

// Split splits an expression, of which it keeps and changes parts.
func Split(expr parser.Expr) *Plan {
	p := new(Plan)
	p.Expr = p.split(expr, anyOrder)
	if len(p.Leaves) == 1 && unwrapped(p.Expr) == p.Leaves[0].selector {
		p.Leaves[0].alone = true
	}
	return p
}

// order is what the order of series means to whoever they are for.
type order int

const (
	anyOrder order = iota
	// unequal: none, if no two of them have the same value.
	unequal
	// alike: none, if those that have the same value have it bit by bit.
	alike
	// strict: it has to be that which one engine has.
	strict
)

// within is what order means to those below that are for others than who it is for.
func (o order) within() order {
	if o == anyOrder {
		return anyOrder
	}
	return strict
}

// unless returns an order that is enough for one if nothing more is wanted.
func (o order) unless(enough order) order {
	if o == anyOrder {
		return enough
	}
	return strict
}

// split returns what the router evaluates in the place of a part of the expression.
func (p *Plan) split(expr parser.Expr, o order) parser.Expr {
	if l := leafOf(expr, o); l != nil {
		return p.replace(l, nil)
	}
	switch x := expr.(type) {
	case *parser.ParenExpr:
		x.Expr = p.split(x.Expr, o)
	case *parser.UnaryExpr:
		x.Expr = p.split(x.Expr, o.within())
	case *parser.BinaryExpr:
		x.LHS, x.RHS = p.split(x.LHS, o.within()), p.split(x.RHS, o.within())
	case *parser.AggregateExpr:
		p.splitAggregate(x, o)
	case *parser.Call:
		p.splitCall(x, o)
	}
	return expr
}

func (p *Plan) splitAggregate(x *parser.AggregateExpr, o order) {
	if x.Param != nil {
		x.Param = p.split(x.Param, anyOrder)
	}
	switch x.Op {
	case parser.SUM, parser.AVG, parser.COUNT, parser.GROUP, parser.COUNT_VALUES:
		o = o.within()
	case parser.MIN, parser.MAX:
		o = o.unless(alike)
	case parser.TOPK, parser.BOTTOMK:
		o = o.unless(unequal)
	default:
		o = strict
	}
	x.Expr = p.split(x.Expr, o)
}

func (p *Plan) splitCall(x *parser.Call, o order) {
	switch functions[x.Func.Name] {
	case unreadable, 0:
		return
	case absence:
		if s, ok := x.Args[0].(*parser.VectorSelector); ok {
			// The engine takes the labels of what is absent from the selector.
			if lookAt(s).each {
				x.Args[0] = p.replace(&Leaf{kind: present, exprs: []parser.Expr{&parser.AggregateExpr{Op: parser.GROUP, Expr: s}}}, s.LabelMatchers)
			}
			return
		}
		o = o.within()
	case choosing:
		o = o.unless(unequal)
	default:
		o = o.within()
	}
	for i, arg := range x.Args {
		x.Args[i] = p.split(arg, o)
	}
}

// replace adds a leaf, and returns a selector for its place.
func (p *Plan) replace(l *Leaf, matchers []*labels.Matcher) parser.Expr {
	l.selector = &parser.VectorSelector{
		LabelMatchers: append(slices.Clone(matchers), matcherOf(len(p.Leaves))),
		PosRange:      l.exprs[0].PositionRange(),
	}
	p.Leaves = append(p.Leaves, l)
	return l.selector
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
