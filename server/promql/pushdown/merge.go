package pushdown

import (
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/kahansum"
)

// ErrWhole says that results of groups do not say what the expression comes to: it has to
// be evaluated whole.
var ErrWhole = errors.New("the expression has to be evaluated whole")

// Merge makes one result of those of all groups for a leaf, in the order of the groups'
// names. Each has one for each of the leaf's texts. The error is [ErrWhole].
func (l *Leaf) Merge(groups [][]promql.Vector) (promql.Vector, error) {
	if l.kind == union {
		return l.united(groups)
	}
	var m merging
	for _, results := range groups {
		if err := m.add(l.kind, results); err != nil {
			return nil, err
		}
	}
	return l.result(&m)
}

// united is all series of all groups.
func (l *Leaf) united(groups [][]promql.Vector) (promql.Vector, error) {
	n := 0
	for _, results := range groups {
		n += len(results[0])
	}
	all := make(promql.Vector, 0, n)
	for _, results := range groups {
		all = append(all, results[0]...)
	}
	if !l.alone && slices.ContainsFunc(all, mayHaveHint) {
		return nil, ErrWhole
	}
	compare := labels.Compare
	if l.name != "" && slices.ContainsFunc(all, isEarly) {
		compare = l.compareNamed
	}
	slices.SortFunc(all, func(a, b promql.Sample) int { return compare(a.Metric, b.Metric) })
	for i := range all[min(1, len(all)):] {
		if labels.Equal(all[i].Metric, all[i+1].Metric) {
			return nil, ErrWhole
		}
	}
	return all, nil
}

// mayHaveHint says whether a sample is a histogram that says what was before it: that
// depends on how much was read at a time, and is not sent.
func mayHaveHint(s promql.Sample) bool {
	return s.H != nil && s.H.CounterResetHint != histogram.GaugeType
}

var errEarly = errors.New("a label comes before the name")

// isEarly says whether a sample has a label that comes before the name: whether it has a
// name then decides its place.
func isEarly(s promql.Sample) bool {
	return s.Metric.Validate(func(l labels.Label) error {
		if l.Name < model.MetricNameLabel {
			return errEarly
		}
		return nil
	}) != nil
}

// compareNamed compares labels with the name that was dropped.
func (l *Leaf) compareNamed(a, b labels.Labels) int {
	return labels.Compare(l.named(a), l.named(b))
}

func (l *Leaf) named(ls labels.Labels) labels.Labels {
	return labels.NewBuilder(ls).Set(model.MetricNameLabel, l.name).Labels()
}

// merging is an aggregation under way.
type merging struct {
	all    []merged
	number map[string]int // of those, by the bytes of their labels
	key    []byte
}

// merged is what series are aggregated to.
type merged struct {
	labels      labels.Labels
	value, lost float64 // what a sum lacks, by Kahan
	count       float64
}

// of returns what series with these labels are aggregated to.
func (m *merging) of(ls labels.Labels) (_ *merged, known bool) {
	m.key = ls.Bytes(m.key)
	n, known := m.number[string(m.key)]
	if !known {
		if m.number == nil {
			m.number = map[string]int{}
		}
		n = len(m.all)
		m.number[string(m.key)] = n
		m.all = append(m.all, merged{labels: ls})
	}
	return &m.all[n], known
}

// add adds what a group came to.
func (m *merging) add(k kind, results []promql.Vector) error {
	for _, s := range results[0] {
		if s.H != nil || (k == sum || k == average) && math.IsInf(s.F, 0) {
			return ErrWhole
		}
		a, known := m.of(s.Metric)
		if !known {
			a.value = s.F
			continue
		}
		if err := a.add(k, s.F); err != nil {
			return err
		}
	}
	for _, counts := range results[1:] {
		for _, s := range counts {
			a, known := m.of(s.Metric)
			if !known {
				return ErrWhole // There is no sum of what was counted.
			}
			a.count += s.F
		}
	}
	return nil
}

func (a *merged) add(k kind, f float64) error {
	switch k {
	case sum, average:
		a.value, a.lost = kahansum.Inc(f, a.value, a.lost)
	case smallest, largest:
		isNaN := math.IsNaN(a.value)
		if (a.value == f || isNaN && math.IsNaN(f)) && math.Float64bits(a.value) != math.Float64bits(f) {
			return ErrWhole
		}
		if isNaN || k == smallest && a.value > f || k == largest && a.value < f {
			a.value = f
		}
	}
	return nil
}

// result is what all groups come to, sorted by labels.
func (l *Leaf) result(m *merging) (promql.Vector, error) {
	all := make(promql.Vector, len(m.all))
	for i := range m.all {
		a := &m.all[i]
		f := a.value + a.lost
		switch {
		case l.kind != sum && l.kind != average:
			f = a.value
		case math.IsInf(f, 0):
			return nil, ErrWhole
		case l.kind == average:
			f = a.value/a.count + a.lost/a.count
		}
		all[i] = promql.Sample{Metric: a.labels, F: f}
	}
	slices.SortFunc(all, func(a, b promql.Sample) int { return labels.Compare(a.Metric, b.Metric) })
	if l.order != anyOrder && hasEquals(all, l.order) {
		return nil, ErrWhole
	}
	return all, nil
}

// hasEquals says whether some values are equal, so that their order matters.
func hasEquals(all promql.Vector, o order) bool {
	values := make([]float64, len(all))
	for i := range all {
		values[i] = all[i].F
	}
	slices.Sort(values) // NaNs come first
	for i := 1; i < len(values); i++ {
		a, b := values[i-1], values[i]
		if (a == b || math.IsNaN(a) && math.IsNaN(b)) && (o == unequal || math.Float64bits(a) != math.Float64bits(b)) {
			return true
		}
	}
	return false
}

// harmless are annotations that say nothing of what was not aggregated.
var harmless = []error{annotations.PossibleNonCounterInfo, annotations.PossibleNonCounterLabelInfo, annotations.HistogramIgnoredInAggregationInfo}

// Allows says whether the leaf can be merged if a group has these annotations, as they are
// sent. Others may be of what was left out of a sum, by which another group's is wrong.
func (l *Leaf) Allows(texts []string) bool {
	if l.kind != sum && l.kind != average {
		return true
	}
	return !slices.ContainsFunc(texts, func(text string) bool {
		return !slices.ContainsFunc(harmless, func(known error) bool { return strings.HasPrefix(text, known.Error()) })
	})
}
