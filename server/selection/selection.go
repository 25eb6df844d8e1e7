package selection

import (
	"errors"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// Selector is a PromQL series selector: all matchers have to match.
type Selector []*labels.Matcher

// String is the selector as requests have it.
func (s Selector) String() string {
	matchers := make([]string, len(s))
	for i, m := range s {
		matchers[i] = m.String()
	}
	return "{" + strings.Join(matchers, ",") + "}"
}

// Selection is what a request asks for: the series that any selector matches, or
// every series if there are no selectors. Of these it is those that the caller may see.
type Selection struct {
	Selectors []Selector
	// Allowed is what the caller may see, nil for every series.
	Allowed *Selection
	Size    int64 // of all selectors, as [selectorSize] has it
	// compiled is the size of the request's, and text their bytes.
	compiled, text int64
	// Scans says that values have to be tried one by one.
	Scans bool
}

// All says whether every series is selected.
func (s *Selection) All() bool { return len(s.Selectors) == 0 && s.Allowed == nil }

// Bytes is about what the selection takes in memory. What is allowed is shared by all
// calls that it holds for.
func (s *Selection) Bytes() int64 { return instructionBytes*s.compiled + selectorByte*s.text }

// restrict leaves what is allowed.
func (s *Selection) restrict(allowed *Selection) {
	if allowed != nil {
		s.Allowed, s.Size, s.Scans = allowed, s.Size+allowed.Size, s.Scans || allowed.Scans
	}
}

// What compiled selectors take in memory at most: for each instruction, of which a
// small regular expression has few, and for each byte of text.
const (
	instructionBytes = 200
	selectorByte     = 8
)

var selectorParser = parser.NewParser(parser.Options{})

// Compile compiles selectors that hold for many calls, within the limits of one.
func (l Limits) Compile(texts []string) (*Selection, error) {
	size, err := sizeOf(texts, l.SelectorSize)
	if err != nil {
		return nil, err
	}
	s := &Selection{Size: size, compiled: size}
	if err := s.parse(texts); err != nil {
		return nil, err
	}
	if s.All() {
		return nil, errors.New("{} is every series: leave the selectors out for that")
	}
	return s, nil
}

// Parse parses the selectors of the call, unless they are larger than the limit
// together, and adds what its caller is allowed. Its error is for the client: a
// [SyntaxError] or one of a limit.
func (e *Evaluation) Parse(texts []string) (Selection, error) {
	parsed, err := e.parse(texts)
	parsed.restrict(e.allowed)
	return parsed, err
}

func (e *Evaluation) parse(texts []string) (Selection, error) {
	size, err := sizeOf(texts, e.selectorSize)
	if err != nil {
		return Selection{}, err
	}
	parsed := Selection{Size: size, compiled: size}
	for _, text := range texts {
		parsed.text += int64(len(text))
	}
	if len(texts) == 0 {
		return parsed, nil
	}
	if err := e.Grow(evaluationRoom + parsed.Bytes()); err != nil {
		return Selection{}, err
	}
	if !parsed.light() {
		defer e.Pause()
		if err := e.Step(0); err != nil {
			return Selection{}, err
		}
	}
	err = parsed.parse(texts)
	return parsed, err
}

// light says whether the selection is compiled without waiting for a turn.
func (s *Selection) light() bool { return s.Size <= lightSelection }

// lightSelection is compiled in some dozens of microseconds.
const lightSelection = 64

// sizeOf returns the size of all selectors, unless it is beyond the limit.
func sizeOf(texts []string, most int64) (size int64, err error) {
	for _, text := range texts {
		if size += selectorSize(text, most-size); size > most {
			return 0, limit.Over(FlagSelectorSize, "the selectors together compile to more than %d instructions", most)
		}
	}
	return size, nil
}

// parse fills in the selectors: none if one of them is {}.
func (s *Selection) parse(texts []string) error {
	for i, text := range texts {
		matchers, err := selectorParser.ParseMetricSelector(text)
		if err != nil {
			return newSyntaxError(i, text, err)
		}
		if len(matchers) == 0 {
			s.Selectors, s.Scans = nil, false
			return nil
		}
		s.Selectors = append(s.Selectors, matchers)
		s.Scans = s.Scans || slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return len(Wanted(m)) == 0 })
	}
	return nil
}

// Matches says whether a series with these labels is selected.
func (s *Selection) Matches(ls segment.Labels) bool {
	if s.Allowed != nil && !s.Allowed.Matches(ls) {
		return false
	}
	return len(s.Selectors) == 0 || slices.ContainsFunc(s.Selectors, func(sel Selector) bool { return sel.matches(ls) })
}

func (s Selector) matches(ls segment.Labels) bool {
	for _, m := range s {
		if !m.Matches(ValueOf(ls, m.Name)) {
			return false
		}
	}
	return true
}

// ValueOf returns the value of a label, "" if there is none.
func ValueOf(ls segment.Labels, name string) string {
	for i := range ls {
		if ls[i].Name == name {
			return ls[i].Value
		}
	}
	return ""
}

// Wanted returns the values that a matcher selects or, if it matches series without
// the label, those that it rejects. If there are none, values have to be tried one by
// one.
func Wanted(m *labels.Matcher) []string {
	negative := m.Type == labels.MatchNotEqual || m.Type == labels.MatchNotRegexp
	switch {
	case m.Matches("") != negative:
		return nil
	case m.Type == labels.MatchEqual, m.Type == labels.MatchNotEqual:
		return []string{m.Value}
	}
	return m.SetMatches()
}
