package promql

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// series is one of all logs, as an evaluation reads it.
type series struct {
	labels labels.Labels
	parts  []part // by priority where several have a sample at a time
	// before is when a sample has to have arrived.
	before *int64
}

// Labels implements [storage.Series].
func (s *series) Labels() labels.Labels { return s.labels }

// Iterator implements [storage.Series].
func (s *series) Iterator(reused chunkenc.Iterator) chunkenc.Iterator {
	it, ok := reused.(*iterator)
	if !ok {
		it = new(iterator)
	}
	it.reset(s.parts, *s.before)
	return it
}

// merged sorts series by their labels, and makes one of those that have the same. Where
// several have a sample at a time, that of the first counts.
func merged(all []*series) []*series {
	slices.SortStableFunc(all, func(a, b *series) int { return labels.Compare(a.labels, b.labels) })
	n := 0
	for _, s := range all {
		if n > 0 && labels.Equal(all[n-1].labels, s.labels) {
			all[n-1].parts = append(all[n-1].parts, s.parts...)
			continue
		}
		all[n] = s
		n++
	}
	return all[:n]
}

// seriesSet is series in order.
type seriesSet struct {
	series []*series
	at     int // 1 for the first
}

// Next implements [storage.SeriesSet].
func (s *seriesSet) Next() bool { s.at++; return s.at <= len(s.series) }

// At implements [storage.SeriesSet].
func (s *seriesSet) At() storage.Series { return s.series[s.at-1] }

// Err implements [storage.SeriesSet].
func (s *seriesSet) Err() error { return nil }

// Warnings implements [storage.SeriesSet].
func (s *seriesSet) Warnings() annotations.Annotations { return nil }
