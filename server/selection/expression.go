package selection

import (
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promgrpc/exporter/internal/limit"
)

// Measure says whether expressions may be compiled, by the size of all their regular
// expressions together: those of selectors, and those of functions.
func (e *Evaluation) Measure(texts ...string) error {
	size := int64(0)
	for _, text := range texts {
		if size += expressionSize(text, e.selectorSize-size); size > e.selectorSize {
			return limit.Over(FlagSelectorSize, "the regular expressions together compile to more than %d instructions", e.selectorSize)
		}
	}
	return nil
}

// functionOfRegexp takes one as an argument, which may be any of its strings.
const functionOfRegexp = "label_replace"

// expressionSize is the size of an expression, as selectorSize has it.
func expressionSize(text string, most int64) int64 {
	lexer := parser.Lex(text)
	functions := false
	for item := (parser.Item{}); !functions; {
		lexer.NextItem(&item)
		if item.Typ == parser.EOF || item.Typ == parser.ERROR {
			break
		}
		functions = item.Typ == parser.IDENTIFIER && item.Val == functionOfRegexp
	}
	return sizeOfStrings(text, functions, most)
}

// Select returns the selection of matchers that were parsed, with what the caller is
// allowed: the series that all matchers of any set match.
func (e *Evaluation) Select(sets ...[]*labels.Matcher) Selection {
	s := Selection{Selectors: make([]Selector, 0, len(sets))}
	for _, set := range sets {
		s.Selectors = append(s.Selectors, set)
		for _, m := range set {
			s.Size++
			if m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp {
				s.Size += regexpSize(m.Value, e.selectorSize)
			}
			s.Scans = s.Scans || len(Wanted(m)) == 0
		}
	}
	s.restrict(e.allowed)
	return s
}

// expressionByte is what a byte of an expression takes in memory at most, parsed.
const expressionByte = 64

// ExpressionBytes is about what an expression takes in memory that may be compiled.
func ExpressionBytes(text string) int64 {
	return instructionBytes*expressionSize(text, math.MaxInt64) + expressionByte*int64(len(text))
}
