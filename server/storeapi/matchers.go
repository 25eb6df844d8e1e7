package storeapi

import (
	"context"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/selection"
)

// matching is the matchers of a request.
type matching struct {
	// sets are what series have to match, as a query has it: none for all series.
	sets [][]*labels.Matcher
	// none says that a label of the server does not match, and so no series does.
	none bool
}

// operators of the types of matchers, by their numbers.
var operators = []struct {
	kind labels.MatchType
	text string
}{{labels.MatchEqual, "="}, {labels.MatchNotEqual, "!="}, {labels.MatchRegexp, "=~"}, {labels.MatchNotRegexp, "!~"}}

// matching reads matchers, unless their regular expressions are larger than the limit
// together. Those of the server's labels are answered here.
func (s *Store) matching(ctx context.Context, v selection.Viewer, list []*thanos.LabelMatcher) (matching, error) {
	if err := s.measure(ctx, v, list); err != nil {
		return matching{}, err
	}
	var m matching
	var set []*labels.Matcher
	for _, from := range list {
		one, err := labels.NewMatcher(operators[from.GetType()].kind, from.GetName(), from.GetValue())
		if err != nil {
			return matching{}, refusal.Invalid("matcher of " + strconv.Quote(daemon.Excerpt(from.GetName())) + ": " + daemon.Excerpt(err.Error()))
		}
		if value := s.External.value(one.Name); value != "" {
			m.none = m.none || !one.Matches(value)
			continue
		}
		set = append(set, one)
	}
	if len(set) > 0 {
		m.sets = [][]*labels.Matcher{set}
	}
	return m, nil
}

// measure says whether matchers may be compiled.
func (s *Store) measure(ctx context.Context, v selection.Viewer, list []*thanos.LabelMatcher) error {
	texts := make([]string, 0, len(list))
	for _, m := range list {
		if m.GetName() == "" {
			return refusal.Invalid("a matcher has no name of a label")
		}
		if m.GetType() < 0 || int(m.GetType()) >= len(operators) {
			return refusal.Invalid("a matcher is of a type that is not known: " + strconv.Itoa(int(m.GetType())))
		}
		texts = append(texts, "{"+strconv.Quote(m.GetName())+operators[m.GetType()].text+strconv.Quote(m.GetValue())+"}")
	}
	e := s.Samples.Evaluations.New(ctx, v)
	defer e.End()
	return e.Measure(texts...)
}
