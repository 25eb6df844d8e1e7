package pushdown

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"
	"github.com/prometheus/prometheus/util/annotations"
)

// note is an annotation of a group, about a place in the expression that was split.
type note struct {
	err   error // without the place
	at    posrange.PositionRange
	query string
}

// Error implements the error of an annotation as the engine has them: without a place as
// long as it does not know what expression that is in.
func (n *note) Error() string {
	if n.query == "" {
		return n.err.Error()
	}
	return fmt.Sprintf("%v (%s)", n.err, n.at.StartPosInput(n.query, 0))
}

// Unwrap says whether it is a warning.
func (n *note) Unwrap() error { return n.err }

// SetQuery sets what the place is of.
func (n *note) SetQuery(query string) { n.query = query }

// Merge keeps the later one, as the engine does.
func (n *note) Merge(error) error { return n }

// place is what the engine ends an annotation with: a line, which is the first, since
// groups print what they are asked as one, and a column.
var place = regexp.MustCompile(`^(?s)(.*) \(1:(\d+)\)$`)

// Notes are the annotations that a group has sent about a text of the leaf.
func (l *Leaf) Notes(p parser.Parser, text string, sent []string) annotations.Annotations {
	if len(sent) == 0 {
		return nil
	}
	places := map[int]posrange.Pos{}
	if parsed, err := p.ParseExpr(text); err == nil {
		placed(places, parsed, l.exprs[0])
	}
	var all annotations.Annotations
	for _, s := range sent {
		n := new(note)
		if found := place.FindStringSubmatch(s); found != nil {
			s = found[1]
			column, _ := strconv.Atoi(found[2])
			if column > 1 || ofOperator(s) {
				n.at.Start = places[column-1]
			}
		}
		n.err = severe(s)
		all.Add(n)
	}
	return all
}

// ofOperator says whether an annotation is of an operator, which may be where a text starts.
// The engine says that others are there if they are of a subquery, wherever that is.
func ofOperator(text string) bool {
	return strings.HasPrefix(text, annotations.IncompatibleTypesInBinOpInfo.Error())
}

// severe makes an error of an annotation's text.
func severe(text string) error {
	if rest, ok := strings.CutPrefix(text, annotations.PromQLInfo.Error()); ok {
		return fmt.Errorf("%w%s", annotations.PromQLInfo, rest)
	}
	return fmt.Errorf("%w%s", annotations.PromQLWarning, strings.TrimPrefix(text, annotations.PromQLWarning.Error()))
}

// placed notes where the parts of a text, by where they start, are in the expression.
func placed(places map[int]posrange.Pos, text, original parser.Node) {
	places[int(text.PositionRange().Start)] = original.PositionRange().Start
	var parts []parser.Node
	for part := range parser.ChildrenIter(original) {
		parts = append(parts, part)
	}
	for part := range parser.ChildrenIter(text) {
		if len(parts) == 0 {
			return
		}
		placed(places, part, parts[0])
		parts = parts[1:]
	}
}
