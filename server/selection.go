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
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// selector is a PromQL series selector: all matchers have to match.
type selector []*labels.Matcher

// selection is what a request asks for: the series that any selector matches.
// An empty selection is every series.
type selection []selector

var selectorParser = parser.NewParser(parser.Options{})

// parseSelection parses the selectors of a request, if they are no larger than
// the limit together. Its error is for the client: of one that does not parse, it
// shows the selector and points at the place.
func parseSelection(texts []string, most int64) (selection, error) {
	var size int64
	for _, text := range texts {
		if size += selectorSize(text, most-size); size > most {
			return nil, limit.Over(flagSelectorSize, "the selectors together compile to more than %d instructions", most)
		}
	}
	var s selection
	for i, text := range texts {
		matchers, err := selectorParser.ParseMetricSelector(text)
		if err != nil {
			return nil, selectorError(i, text, err)
		}
		if len(matchers) == 0 { // {}
			return nil, nil
		}
		s = append(s, matchers)
	}
	return s, nil
}

// matches says whether a series with these labels, sorted by name, is selected.
func (s selection) matches(ls segment.Labels) bool {
	if len(s) == 0 {
		return true
	}
	return slices.ContainsFunc(s, func(sel selector) bool { return sel.matches(ls) })
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

func selectorError(i int, text string, err error) error {
	position, reason := 0, err.Error()
	var list parser.ParseErrors
	var one *parser.ParseErr
	switch {
	case errors.As(err, &list) && len(list) > 0:
		position, reason = int(list[0].PositionRange.Start), list[0].Err.Error()
	case errors.As(err, &one):
		position, reason = int(one.PositionRange.Start), one.Err.Error()
	}
	line, caret := pointAt(text, position)
	e := connect.NewError(connect.CodeInvalidArgument,
		fmt.Errorf("selector %d does not parse: %s\n  %s\n  %s", i+1, reason, line, caret))
	withDetail(e, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{
		Field:       fmt.Sprintf("selectors[%d]", i),
		Description: reason,
	}}})
	return e
}

// pointAt returns the line of text that holds the byte at position, and a line
// with a caret below that byte's character.
func pointAt(text string, position int) (line, caret string) {
	position = min(max(position, 0), len(text))
	start := strings.LastIndexByte(text[:position], '\n') + 1
	line, _, _ = strings.Cut(text[start:], "\n")
	line = strings.ReplaceAll(strings.ToValidUTF8(line, "�"), "\t", " ")
	column := utf8.RuneCountInString(strings.ToValidUTF8(text[start:position], "�"))
	return line, strings.Repeat(" ", column) + "^"
}
