package promql

import (
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promgrpc/exporter/internal/limit"
)

// checkOperations checks how many operators, brackets and calls a text has, since an
// expression is worked on by functions that call themselves for each level of it.
func (c *Config) checkOperations(text string) error {
	n, braces := 0, 0
	lexer := parser.Lex(text)
	for item := (parser.Item{}); n <= c.Operations; {
		lexer.NextItem(&item)
		switch {
		case item.Typ == parser.EOF, item.Typ == parser.ERROR:
			return nil
		case item.Typ == parser.LEFT_BRACE:
			braces++
		case item.Typ == parser.RIGHT_BRACE:
			braces--
		case braces == 0 && (item.Typ == parser.LEFT_PAREN || item.Typ == parser.LEFT_BRACKET || item.Typ.IsOperator()):
			n++
		}
	}
	return limit.Over(FlagOperations, "the expression has more than %d operators, brackets and calls", c.Operations)
}
