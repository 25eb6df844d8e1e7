package rule

import (
	"fmt"
	"slices"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promgrpc/exporter/server/promql"
)

// Metrics that Prometheus writes of alerts.
const (
	alertsMetric   = "ALERTS"
	alertsForState = "ALERTS_FOR_STATE"
	alertstate     = "alertstate"
)

// checkReads refuses a file one of whose rules reads what another results in, otherwise
// than at the same step from one before it in its group: that is not in the logs, and
// what came to an earlier step is not kept.
func (f *file) checkReads() error {
	for at, g := range f.groups {
		for i, r := range g.rules {
			g.overlaid = g.overlaid || r.queries()
			for _, s := range r.expression.Selectors() {
				if err := f.checkRead(at, i, &s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkRead checks a selector of a rule against all rules of the file.
func (f *file) checkRead(at, i int, s *promql.Selector) error {
	reading := f.groups[at]
	for of, g := range f.groups {
		for j, r := range g.rules {
			if !r.mayResultIn(s.Matchers) {
				continue
			}
			var why string
			switch {
			case r.alert:
				why = "that is the state of an alert of this file, which is not kept as samples"
			case of != at:
				why = "that is recorded in another group"
			case j >= i:
				why = "that is recorded by this rule or a later one"
			case s.Range != 0 || s.Offset != 0 || s.At || s.Subquery:
				why = "that is recorded in this file, and can be read at the step itself only: without a range, an offset, an @ or a subquery"
			default:
				g.overlaid = true
				continue
			}
			name := reading.rules[i].name
			return &invalidError{Group: reading.name, Rule: name, Reason: fmt.Sprintf(
				"group %q, rule %q: %s may select what rule %q of group %q results in: %s", reading.name, name, &parser.VectorSelector{Name: s.Name, LabelMatchers: s.Matchers}, r.name, g.name, why)}
		}
	}
	return nil
}

// mayResultIn says whether the rule may result in a series that matchers match, by what is
// known of it: its name and the labels that the rule sets. Other labels may be anything.
//
// An alert is no series here. A selector that has no name does not mean it, though in
// Prometheus it would find it.
func (r *rule) mayResultIn(matchers []*labels.Matcher) bool {
	named := func(m *labels.Matcher) bool { return m.Name == model.MetricNameLabel }
	if r.alert && !slices.ContainsFunc(matchers, named) {
		return false
	}
	for _, m := range matchers {
		if !r.mayHave(m) {
			return false
		}
	}
	return true
}

func (r *rule) mayHave(m *labels.Matcher) bool {
	switch {
	case m.Name == model.MetricNameLabel && r.alert:
		return m.Matches(alertsMetric) || m.Matches(alertsForState)
	case m.Name == model.MetricNameLabel:
		return m.Matches(r.name)
	case m.Name == labels.AlertName && r.alert:
		return m.Matches(r.name)
	case m.Name == alertstate && r.alert:
		return m.Matches("") || m.Matches("pending") || m.Matches("firing")
	case !r.labels.Has(m.Name):
		return true
	case !r.alert:
		return m.Matches(r.labels.Get(m.Name))
	}
	for _, t := range r.labelTexts {
		if t.name == m.Name && t.plain {
			return m.Matches(t.value)
		}
	}
	return true
}

// queries says whether templates of the rule may evaluate expressions.
func (r *rule) queries() bool {
	for _, texts := range [][]text{r.labelTexts, r.annotations} {
		for _, t := range texts {
			if t.queries() {
				return true
			}
		}
	}
	return false
}
