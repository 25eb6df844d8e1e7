package promql

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// Functions and operators that write labels make more of them than was selected: a text
// may be written to each series, and labels of one series be copied to all others. So what
// they make is bounded by what the selectors find, and held before it is made.

// size is how long something is at most: a number of bytes, copies of the labels of the
// series that it is of, and copies of those of the longest series of all.
type size struct{ bytes, own, longest float64 }

func (s size) plus(o size) size {
	return size{min(s.bytes+o.bytes, mostHeld), min(s.own+o.own, mostHeld), min(s.longest+o.longest, mostHeld)}
}

func (s size) times(n float64) size {
	return size{min(n*s.bytes, mostHeld), min(n*s.own, mostHeld), min(n*s.longest, mostHeld)}
}

func larger(a, b size) size {
	return size{max(a.bytes, b.bytes), max(a.own, b.own), max(a.longest, b.longest)}
}

// labelSizes is how large the labels are that a part of an expression makes, by their
// names. Others are as they were selected.
type labelSizes map[string]size

// of is the size of a label.
func (l labelSizes) of(name string) size {
	if s, ok := l[name]; ok {
		return s
	}
	return size{own: 1}
}

// grow makes the sizes those of either part.
func (l labelSizes) grow(other labelSizes) {
	for name, s := range other {
		l[name] = larger(l[name], s)
	}
}

// growth is how large the labels are that an expression makes, for one series.
func growth(expr parser.Expr) size {
	most := size{}
	madeIn(expr, &most)
	return most
}

// madeIn returns which labels a part of an expression makes. The most that any part makes
// is noted.
func madeIn(node parser.Node, most *size) labelSizes {
	made := labelSizes{}
	sides := make([]labelSizes, 0, 2)
	for child := range parser.ChildrenIter(node) {
		of := madeIn(child, most)
		made.grow(of)
		sides = append(sides, of)
	}
	switch n := node.(type) {
	case *parser.BinaryExpr:
		made.copied(n, sides)
	case *parser.Call:
		switch n.Func.Name {
		case "label_replace":
			text := literal(n.Args[2])
			copies := made.of(literal(n.Args[3])).times(float64(strings.Count(text, "$")))
			made[literal(n.Args[1])] = copies.plus(size{bytes: float64(len(text))})
		case "label_join":
			joined := size{bytes: float64(len(literal(n.Args[2])) * len(n.Args))}
			for _, source := range n.Args[3:] {
				joined = joined.plus(made.of(literal(source)))
			}
			made[literal(n.Args[1])] = joined
		}
	}
	sum := size{}
	for _, name := range slices.Sorted(maps.Keys(made)) {
		sum = sum.plus(made[name]).plus(size{bytes: float64(len(name))})
	}
	*most = larger(*most, sum)
	return made
}

// copied adds the labels that an operator copies to many series from one.
func (l labelSizes) copied(n *parser.BinaryExpr, sides []labelSizes) {
	if n.VectorMatching == nil || len(sides) != 2 {
		return
	}
	one := sides[1]
	if n.VectorMatching.Card == parser.CardOneToMany {
		one = sides[0]
	}
	for _, name := range n.VectorMatching.Include {
		s := one.of(name)
		l[name] = larger(l[name], size{bytes: s.bytes, longest: s.longest + s.own})
	}
}

// literal is a string in an expression, which has no other kind of strings.
func literal(expr parser.Expr) string {
	if s, ok := unwrapped(expr).(*parser.StringLiteral); ok {
		return s.Val
	}
	return ""
}

// making is what a run of the engine makes of the series that it has selected: points, and
// labels.
type making struct {
	growth                size
	series, bytes, widest int64
	points                int64
	held                  int64
}

// make holds what is made of more series.
func (r *reading) make(all []series, hints *storage.SelectHints) error {
	m := &r.made
	for _, s := range all {
		m.add(s.of.Labels)
	}
	m.points += int64(len(all)) * r.pointsOf(hints)
	return r.holdMade()
}

// add counts a series that is selected.
func (m *making) add(ls labels.Labels) {
	if m.series++; m.growth != (size{}) {
		n := int64(ls.ByteSize())
		m.bytes, m.widest = m.bytes+n, max(m.widest, n)
	}
}

// pointsOf is how many points the engine makes at most of a series.
func (r *reading) pointsOf(hints *storage.SelectHints) int64 {
	n := r.whole.steps()
	if hints.Step > 0 && hints.Step != r.run.step { // of a subquery
		width := hints.End - hints.Start - hints.Range
		if hints.Range == 0 {
			width -= r.lookback()
		}
		n = max(n, width/hints.Step+1)
	}
	return n
}

// holdMade holds what is made of the series so far.
func (r *reading) holdMade() error {
	m := &r.made
	// There is one series besides in "vector(1)".
	n := m.growth.bytes*float64(m.series+1) + m.growth.own*float64(m.bytes) + m.growth.longest*float64(m.series)*float64(m.widest)
	more := int64(min(n+pointBytes*float64(m.points), mostHeld)) - m.held
	if err := r.grow(more); err != nil {
		return err
	}
	m.held += more
	return nil
}

// mostHeld is more than any limit.
const mostHeld = 1 << 60

// begin begins a run, which has selected nothing yet.
func (r *reading) begin(growth size) error {
	r.release(r.made.held)
	r.made = making{growth: growth}
	return r.holdMade()
}

// lookback is how old a sample may be to count, in ms.
func (r *reading) lookback() int64 { return r.engine.lookback(r.options).Milliseconds() }

// lookback is how old a sample may be to count.
func (e *Engine) lookback(o Options) time.Duration {
	if o.Lookback > 0 {
		return o.Lookback
	}
	return e.config.Lookback
}
