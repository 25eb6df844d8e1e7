package server

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

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

// parse parses the selectors of the call, if they are no larger than the limit
// together. Its error is for the client.
func (e *evaluation) parse(texts []string) (selection, error) {
	size, err := sizeOf(texts, e.selectorSize)
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
			return newSyntaxError(i, text, err)
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

// wanted returns the values that a matcher wants, or does not want if it matches
// what has no such label. None says that values have to be looked at.
func wanted(m *labels.Matcher) []string {
	negative := m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp
	switch {
	case m.Matches("") != negative:
		return nil
	case m.Type == labels.MatchEqual, m.Type == labels.MatchNotEqual:
		return []string{m.Value}
	}
	return m.SetMatches()
}
