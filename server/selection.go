package server

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// selector is a PromQL series selector: all matchers have to match.
type selector []*labels.Matcher

// selection is what a request asks for: the series that any selector matches, or
// every series if there are no selectors.
type selection struct {
	selectors []selector
	size      int64 // of what was compiled, as [selectorSize] has it
	text      int64 // bytes of the selectors as they were given
	// scans says that values have to be looked at, one by one.
	scans bool
}

// all says whether every series is selected.
func (s *selection) all() bool { return len(s.selectors) == 0 }

// bytes is about what the selection takes in memory.
func (s *selection) bytes() int64 { return instructionBytes*s.size + selectorByte*s.text }

// What selectors take in memory once they are compiled, at most: for each
// instruction, a small regular expression having few, and for each byte of text.
const (
	instructionBytes = 200
	selectorByte     = 8
)

var selectorParser = parser.NewParser(parser.Options{})

// selection parses the selectors of a request, if they are no larger than the
// limit together. Its error is for the client: of one that does not parse, it
// shows the selector and points at the place.
func (s *Server) selection(e *evaluation, texts []string) (selection, error) {
	size, err := sizeOf(texts, s.config.SelectorSize)
	if err != nil {
		return selection{}, err
	}
	parsed := selection{size: size}
	for _, text := range texts {
		parsed.text += int64(len(text))
	}
	if len(texts) == 0 {
		return parsed, nil
	}
	if err := e.grow(evaluationRoom + parsed.bytes()); err != nil {
		return selection{}, err
	}
	if !parsed.light() {
		defer e.pause()
		if err := e.step(0); err != nil {
			return selection{}, err
		}
	}
	err = parsed.parse(texts)
	return parsed, err
}

// light says whether it is not worth the while to wait in order to compile the
// selection.
func (s *selection) light() bool { return s.size <= lightSelection }

// lightSelection is compiled within some dozens of microseconds.
const lightSelection = 64

// sizeOf returns the size of selectors together, which has a limit.
func sizeOf(texts []string, most int64) (size int64, err error) {
	for _, text := range texts {
		if size += selectorSize(text, most-size); size > most {
			return 0, limit.Over(flagSelectorSize, "the selectors together compile to more than %d instructions", most)
		}
	}
	return size, nil
}

// parse fills in the selectors: none if one of them is {}.
func (s *selection) parse(texts []string) error {
	for i, text := range texts {
		matchers, err := selectorParser.ParseMetricSelector(text)
		if err != nil {
			return selectorError(i, text, err)
		}
		if len(matchers) == 0 {
			s.selectors, s.scans = nil, false
			return nil
		}
		s.selectors = append(s.selectors, matchers)
		s.scans = s.scans || slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return len(wanted(m)) == 0 })
	}
	return nil
}

// matches says whether a series with these labels is selected.
func (s *selection) matches(ls segment.Labels) bool {
	return s.all() || slices.ContainsFunc(s.selectors, func(sel selector) bool { return sel.matches(ls) })
}

func (s selector) matches(ls segment.Labels) bool {
	for _, m := range s {
		if !m.Matches(valueOf(ls, m.Name)) {
			return false
		}
	}
	return true
}

func valueOf(ls segment.Labels, name string) string {
	for i := range ls {
		if ls[i].Name == name {
			return ls[i].Value
		}
	}
	return ""
}

// selectorError shows the selector, points at the place, and says what would be
// one where the text is another kind of expression.
func selectorError(i int, text string, err error) error {
	place, reason := posrange.PositionRange{}, err.Error()
	var list parser.ParseErrors
	var one *parser.ParseErr
	switch {
	case errors.As(err, &list) && len(list) > 0:
		place, reason = list[0].PositionRange, list[0].Err.Error()
	case errors.As(err, &one):
		place, reason = one.PositionRange, one.Err.Error()
	}
	reason = shortened(reason, mostReason)
	start := min(max(int(place.Start), 0), len(text))
	line, caret := pointAt(text, start)
	message := fmt.Sprintf("selector %d does not parse: %s\n  %s\n  %s", i+1, reason, line, caret)
	if outsideBraces(text, start) {
		message += "\n" + whatSelects
		reason += "; " + whatSelects
	}
	e := connect.NewError(connect.CodeInvalidArgument, errors.New(message))
	withDetail(e, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{
		Field:       fmt.Sprintf("selectors[%d]", i),
		Description: reason,
	}}})
	withDetail(e, &metricsv1.InvalidSelector{
		Index: uint32(i),
		Start: uint32(start),
		End:   uint32(min(max(int(place.End), start), len(text))),
	})
	return e
}

const whatSelects = `a selector is a metric name, matchers in braces, or both, such as up{job="node"}; ` +
	"functions, operators, ranges and offsets are not evaluated"

// outsideBraces says whether the byte at position is in no braces, where a
// selector has nothing but a name.
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

// pointAt returns the line of text that holds the byte at position, of which
// maxAround characters on either side, and a line with a caret below that byte's
// character.
func pointAt(text string, position int) (line, caret string) {
	position = min(max(position, 0), len(text))
	start := strings.LastIndexByte(text[:position], '\n') + 1
	line, _, _ = strings.Cut(text[start:], "\n")
	shown := []rune(strings.ReplaceAll(strings.ToValidUTF8(line, "�"), "\t", " "))
	column := min(utf8.RuneCountInString(strings.ToValidUTF8(text[start:position], "�")), len(shown))
	if len(shown) > column+maxAround {
		shown = append(shown[:column+maxAround], more)
	}
	if column > maxAround {
		shown = append([]rune{more}, shown[column-maxAround:]...)
		column = maxAround + 1
	}
	return string(shown), strings.Repeat(" ", column) + "^"
}
