package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"

	promgrpc "github.com/promgrpc/exporter/clients/go"
)

// misplacedError is a mistake in an expression, shown where it is.
type misplacedError struct {
	expression string
	err        *promgrpc.ExpressionError
}

func (e *misplacedError) Error() string {
	return strings.TrimRight(e.err.Reason(), "\n") + "\n" + pointer(e.expression, e.err.Start, e.err.End)
}

func (e *misplacedError) Unwrap() error { return e.err }

// maxPointed is how much of a line is shown, in characters, and aheadOfPlace how much
// of that before the place.
const (
	maxPointed   = 76
	aheadOfPlace = 50
)

// pointer returns the line of a text that has the bytes from start to end, and below it
// what points there.
func pointer(text string, start, end int) string {
	start = min(max(start, 0), len(text))
	end = min(max(end, start), len(text))
	from := strings.LastIndexByte(text[:start], '\n') + 1
	line := text[from:]
	if to := strings.IndexByte(line, '\n'); to >= 0 {
		line = line[:to]
	}
	before := line[:min(start-from, len(line))]
	place := line[len(before):min(end-from, len(line))]
	rest := line[len(before)+len(place):]

	lead, trail := "", ""
	if n := utf8.RuneCountInString(before); n > aheadOfPlace {
		lead, before = "…", string([]rune(before)[n-aheadOfPlace:])
	}
	shown := []rune(oneLine(before + place + rest))
	if len(shown) > maxPointed {
		trail, shown = "…", shown[:maxPointed]
	}
	column := utf8.RuneCountInString(lead + before)
	width := min(max(1, utf8.RuneCountInString(place)), max(1, maxPointed-column))
	return fmt.Sprintf("  %s%s%s\n  %s%s", lead, string(shown), trail, strings.Repeat(" ", column), strings.Repeat("^", width))
}

// oneLine replaces what has no width of one character.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
