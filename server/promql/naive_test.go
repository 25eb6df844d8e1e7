package promql

import (
	"cmp"
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// naive is samples in lists, for Prometheus' own engine to read.
type naive struct {
	of map[string][]chunks.Sample
}

// newNaive returns those of some samples, in order of arrival, that came first for their
// time.
func newNaive(samples []sampleOf) naive {
	n := naive{map[string][]chunks.Sample{}}
	seen := map[sampleKey]bool{}
	for _, s := range samples {
		if key := (sampleKey{s.labels, s.timestamp}); !seen[key] {
			seen[key] = true
			n.of[s.labels] = append(n.of[s.labels], naiveSample{s})
		}
	}
	for _, list := range n.of {
		slices.SortFunc(list, func(a, b chunks.Sample) int { return cmp.Compare(a.T(), b.T()) })
	}
	return n
}

type sampleKey struct {
	labels    string
	timestamp int64
}

// Querier implements [storage.Queryable].
func (n naive) Querier(from, to int64) (storage.Querier, error) {
	return naiveQuerier{n, from, to}, nil
}

type naiveQuerier struct {
	naive
	from, to int64
}

// Select implements [storage.Querier].
func (q naiveQuerier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	var found []*storage.SeriesEntry
	for key, list := range q.of {
		from, _ := slices.BinarySearchFunc(list, q.from, func(s chunks.Sample, t int64) int { return cmp.Compare(s.T(), t) })
		to, _ := slices.BinarySearchFunc(list, q.to+1, func(s chunks.Sample, t int64) int { return cmp.Compare(s.T(), t) })
		if ls := labelsOf(key); from < to && matches(ls, matchers) {
			found = append(found, storage.NewListSeries(ls, list[from:to]))
		}
	}
	slices.SortFunc(found, func(a, b *storage.SeriesEntry) int { return labels.Compare(a.Labels(), b.Labels()) })
	return &naiveSet{found, 0}
}

func (naiveQuerier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (naiveQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (naiveQuerier) Close() error { return nil }

type naiveSet struct {
	all []*storage.SeriesEntry
	at  int
}

func (s *naiveSet) Next() bool                        { s.at++; return s.at <= len(s.all) }
func (s *naiveSet) At() storage.Series                { return s.all[s.at-1] }
func (s *naiveSet) Err() error                        { return nil }
func (s *naiveSet) Warnings() annotations.Annotations { return nil }

// naiveSample is a sample, without what a server does not keep of it.
type naiveSample struct{ sampleOf }

func (s naiveSample) T() int64                { return s.timestamp }
func (s naiveSample) ST() int64               { return 0 }
func (s naiveSample) F() float64              { return s.value }
func (s naiveSample) H() *histogram.Histogram { return nil }

func (s naiveSample) FH() *histogram.FloatHistogram {
	h := s.histogram.Copy()
	if h.CounterResetHint == histogram.NotCounterReset {
		h.CounterResetHint = histogram.UnknownCounterReset
	}
	return h
}

func (s naiveSample) Type() chunkenc.ValueType {
	if s.histogram != nil {
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

func (s naiveSample) Copy() chunks.Sample { return s }
