package selection

import (
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"
)

// SyntaxError is a selector that does not parse.
type SyntaxError struct {
	Selector   int // its index in the request
	Text       string
	Start, End int // bytes of the text that are wrong
	Reason     string
	// Expression says that the text is an expression of another kind.
	Expression bool
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("selector %d does not parse: %s", e.Selector+1, e.Reason)
}

// newSyntaxError takes the position from the parser's error.
func newSyntaxError(selector int, text string, err error) *SyntaxError {
	start, end, reason := Wrong(text, err)
	return &SyntaxError{Selector: selector, Text: text, Start: start, End: end, Reason: reason, Expression: outsideBraces(text, start)}
}

// Wrong returns which bytes of a text are wrong, and why, by the error that Prometheus'
// parser has of it.
func Wrong(text string, err error) (start, end int, reason string) {
	at, reason := posrange.PositionRange{}, err.Error()
	var list parser.ParseErrors
	var one *parser.ParseErr
	switch {
	case errors.As(err, &list) && len(list) > 0:
		at, reason = list[0].PositionRange, list[0].Err.Error()
	case errors.As(err, &one):
		at, reason = one.PositionRange, one.Err.Error()
	}
	start = min(max(int(at.Start), 0), len(text))
	return start, min(max(int(at.End), start), len(text)), reason
}

// outsideBraces says whether the byte at a position is outside braces, where a
// selector has only a name.
func outsideBraces(text string, position int) bool {
	depth := 0
	lexer := parser.Lex(text)
	for item := (parser.Item{}); ; {
		lexer.NextItem(&item)
		if item.Typ == parser.EOF || item.Typ == parser.ERROR || int(item.Pos) >= position {
			return depth == 0
		}
		switch item.Typ {
		case parser.LEFT_BRACE:
			depth++
		case parser.RIGHT_BRACE:
			depth--
		}
	}
}
