package promql

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/promgrpc/exporter/server/samples"
)

// series is one as the engine reads it.
type series struct {
	of *samples.Series
	// before is when a sample has to have arrived.
	before *int64
}

// seriesOf appends series for the engine to dst.
func seriesOf(dst []series, all []*samples.Series, before *int64) []series {
	for _, s := range all {
		dst = append(dst, series{s, before})
	}
	return dst
}

// Labels implements [storage.Series].
func (s *series) Labels() labels.Labels { return s.of.Labels }

// Iterator implements [storage.Series].
func (s *series) Iterator(reused chunkenc.Iterator) chunkenc.Iterator {
	it, ok := reused.(*samples.Iterator)
	if !ok {
		it = new(samples.Iterator)
	}
	it.Reset(s.of.Parts, *s.before)
	return it
}

// seriesSet is series in order.
type seriesSet struct {
	series []series
	at     int // 1 for the first
}

// Next implements [storage.SeriesSet].
func (s *seriesSet) Next() bool { s.at++; return s.at <= len(s.series) }

// At implements [storage.SeriesSet].
func (s *seriesSet) At() storage.Series { return &s.series[s.at-1] }

// Err implements [storage.SeriesSet].
func (s *seriesSet) Err() error { return nil }

// Warnings implements [storage.SeriesSet].
func (s *seriesSet) Warnings() annotations.Annotations { return nil }
