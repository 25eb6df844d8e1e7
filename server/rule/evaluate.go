package rule

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/selection"
)

// state of a file's rules between two steps.
type state struct {
	groups []groupState
}

// groupState is how far a group has come.
type groupState struct {
	next  int64 // step
	rules []ruleState
}

// ruleState is what a rule came to when it was evaluated last without a failure.
type ruleState struct {
	evaluated int64 // step; never: at none
	alerts    alerts
	series    []sample // of a record, sorted by labels
}

// sample is what a record came to for one series.
type sample struct {
	labels    labels.Labels
	value     float64
	histogram *histogram.FloatHistogram // nil: it is a float
}

// outcome is what a group came to at a step.
type outcome struct {
	series      []sample // in the order of the rules
	alerts      []ruleChange
	annotations []ruleAnnotations
	failures    []failure
}

func (o *outcome) empty() bool {
	return len(o.series) == 0 && len(o.alerts) == 0 && len(o.annotations) == 0 && len(o.failures) == 0
}

type ruleChange struct {
	rule *rule
	change
}

type ruleAnnotations struct {
	rule *rule
	of   annotations.Annotations
}

// failure is a rule that could not be evaluated.
type failure struct {
	rule *rule
	err  error
}

// Errors of rules whose expressions could be evaluated.
var errSameLabels = errors.New("several series have the same labels once those of the rule are set")

// evaluator evaluates the rules of a file.
type evaluator struct {
	engine *promql.Engine
	viewer selection.Viewer
	limits Limits
	file   *file
	// grow takes room for so many bytes that a step came to.
	grow func(int64) error
}

// step evaluates the next step of a group. An error says that it has to be evaluated
// again: the state is as it was.
func (e *evaluator) step(ctx context.Context, s *state, g int) (*outcome, error) {
	of, group := &s.groups[g], e.file.groups[g]
	at := of.next
	results := make([]*result, len(group.rules))
	overlay := newOverlay(group)
	for i := range group.rules {
		r, err := e.rule(ctx, g, i, at, overlay)
		if err != nil {
			return nil, err
		}
		results[i] = r
		overlay.add(group.rules[i], r, at)
	}
	if err := e.checkRoom(s, g, results); err != nil {
		return nil, err
	}
	out := &outcome{}
	for i, r := range results {
		of.rules[i].apply(group, group.rules[i], at, r, out)
	}
	of.next += group.interval
	return out, nil
}

// checkRoom says whether the cursor has room for what will be active.
func (e *evaluator) checkRoom(s *state, g int, results []*result) error {
	active := 0
	for i := range s.groups {
		for j := range s.groups[i].rules {
			active += len(s.groups[i].rules[j].alerts)
			if i != g {
				continue
			}
			for hash := range results[j].seen {
				if s.groups[i].rules[j].alerts[hash] == nil {
					active++
				}
			}
		}
	}
	if active > e.limits.Alerts {
		return limit.Over(FlagAlerts, "more than %d alerts are active", e.limits.Alerts)
	}
	return nil
}

// apply moves a rule on to a step at which it came to a result.
func (s *ruleState) apply(g *group, r *rule, at int64, is *result, out *outcome) {
	if len(is.annotations) > 0 {
		out.annotations = append(out.annotations, ruleAnnotations{r, is.annotations})
	}
	if is.failed != nil {
		out.failures = append(out.failures, failure{r, is.failed})
		return
	}
	if r.alert && !s.moveAlerts(g, r, at, is.seen, out) {
		return
	}
	if !r.alert {
		out.series = append(out.series, is.series...)
		out.series = append(out.series, gone(s.series, is.series)...)
		s.series = is.series
	}
	s.evaluated = at
}

// moveAlerts moves the alerts of a rule on. If they are more than their group may have, all
// become inactive and the rule has failed, as in Prometheus.
func (s *ruleState) moveAlerts(g *group, r *rule, at int64, seen alerts, out *outcome) bool {
	var before []change
	if g.limit > 0 {
		before = s.alerts.inactive()
	}
	changes := s.alerts.step(r, at, seen)
	n := len(s.alerts)
	over := g.limit > 0 && n > g.limit
	if over {
		clear(s.alerts)
		changes = before
		out.failures = append(out.failures, failure{r, fmt.Errorf("the group's limit of %d is exceeded by %d alerts", g.limit, n)})
	}
	for _, c := range changes {
		out.alerts = append(out.alerts, ruleChange{r, c})
	}
	return !over
}

// gone returns stale markers of the series that are not there any more. Both are sorted.
func gone(before, now []sample) []sample {
	var markers []sample
	for _, s := range before {
		for len(now) > 0 && labels.Compare(now[0].labels, s.labels) < 0 {
			now = now[1:]
		}
		if len(now) == 0 || !labels.Equal(now[0].labels, s.labels) {
			markers = append(markers, sample{labels: s.labels, value: math.Float64frombits(value.StaleNaN)})
		}
	}
	return markers
}

// result is what a rule came to at a step.
type result struct {
	seen        alerts   // of an alert: for which its expression holds
	series      []sample // of a record, sorted by labels
	annotations annotations.Annotations
	failed      error // nil: it was evaluated
}

// rule evaluates a rule at a step. The error is one of what may go well when it is tried
// again.
func (e *evaluator) rule(ctx context.Context, g, i int, at int64, of *overlay) (*result, error) {
	r := e.file.groups[g].rules[i]
	vector, notes, err := e.evaluate(ctx, g, r.expression, at, of)
	if err != nil {
		return failedWith(err)
	}
	is := &result{annotations: notes}
	if r.alert {
		is.seen, err = e.seen(ctx, g, i, at, vector, of)
	} else {
		is.series, err = e.record(e.file.groups[g], r, vector)
	}
	if err != nil {
		return failedWith(err)
	}
	return is, nil
}

// failedWith tells what fails each time from what may pass.
func failedWith(err error) (*result, error) {
	if passes(err) {
		return nil, err
	}
	return &result{failed: err}, nil
}

// evaluate evaluates an expression at a step of a group.
func (e *evaluator) evaluate(ctx context.Context, g int, x *promql.Expression, at int64, of *overlay) (promql.Vector, annotations.Annotations, error) {
	if err := of.check(x); err != nil {
		return nil, nil, err
	}
	delay := time.Duration(e.file.groups[g].delay) * time.Millisecond
	is, err := e.engine.Evaluate(ctx, x, at, at, 0, promql.Options{Viewer: e.viewer, Delay: &delay, Overlay: of.series})
	if err != nil {
		return nil, nil, err
	}
	switch v := is.Value.(type) {
	case promql.Vector:
		return v, is.Annotations, nil
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, is.Annotations, nil
	}
	return nil, nil, errors.New("the expression is not an instant vector or a scalar")
}

// record gives the series of a vector the names that they are recorded by.
func (e *evaluator) record(g *group, r *rule, vector promql.Vector) ([]sample, error) {
	b := labels.NewBuilder(labels.EmptyLabels())
	series := make([]sample, 0, len(vector))
	for _, s := range vector {
		b.Reset(s.Metric)
		b.Set(model.MetricNameLabel, r.name)
		r.labels.Range(func(l labels.Label) { b.Set(l.Name, l.Value) })
		is := sample{b.Labels(), s.F, s.H}
		if err := e.grow(is.bytes()); err != nil {
			return nil, err
		}
		series = append(series, is)
	}
	slices.SortFunc(series, func(a, b sample) int { return labels.Compare(a.labels, b.labels) })
	for i := range series[:max(len(series)-1, 0)] {
		if labels.Equal(series[i].labels, series[i+1].labels) {
			return nil, errSameLabels
		}
	}
	if g.limit > 0 && len(series) > g.limit {
		return nil, fmt.Errorf("the group's limit of %d is exceeded by %d series", g.limit, len(series))
	}
	return series, nil
}

// seen makes the alerts of a vector, as they are if none of them is known yet.
func (e *evaluator) seen(ctx context.Context, g, i int, at int64, vector promql.Vector, of *overlay) (alerts, error) {
	if len(vector) > e.limits.Alerts {
		return nil, limit.Over(FlagAlerts, "it holds for %d series, more than %d alerts", len(vector), e.limits.Alerts)
	}
	r := e.file.groups[g].rules[i]
	b, s := labels.NewBuilder(labels.EmptyLabels()), labels.NewScratchBuilder(0)
	seen := make(alerts, len(vector))
	ask := e.asker(g, i, at, of)
	for _, is := range vector {
		x := newExpansion(ctx, r.name, is)
		x.externalLabels, x.externalURL = e.file.externalLabels.Map(), e.file.externalURL
		x.at, x.most, x.query, x.pattern = at, int64(e.limits.TemplateSize), ask.query, ask.pattern
		b.Reset(is.Metric)
		b.Del(model.MetricNameLabel)
		for _, t := range r.labelTexts {
			b.Set(t.name, x.expand(t))
		}
		b.Set(labels.AlertName, r.name)
		s.Reset()
		for _, t := range r.annotations {
			s.Add(t.name, x.expand(t))
		}
		switch {
		case ask.failure != nil:
			return nil, ask.failure
		case ctx.Err() != nil: // templates that ask for nothing do not notice
			return nil, context.Cause(ctx)
		}
		a := &alert{labels: b.Labels(), annotations: s.Labels(), value: is.F, active: at, seen: at, fired: never, kept: never}
		if err := e.grow(a.bytes()); err != nil {
			return nil, err
		}
		hash := labels.StableHash(a.labels)
		if seen[hash] != nil {
			return nil, errSameLabels
		}
		seen[hash] = a
	}
	return seen, nil
}
