package promql

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/promgrpc/exporter/server/promql/pushdown"
)

// leafParser parses expressions into what is left of them once groups have evaluated the
// leaves.
type leafParser struct{ parser.Parser }

// ParseExpr implements [parser.Parser].
func (p leafParser) ParseExpr(text string) (parser.Expr, error) {
	expr, err := p.Parser.ParseExpr(text)
	if err != nil {
		return nil, err
	}
	return pushdown.Split(expr).Expr, nil
}

// leaf is the samples of the leaf that a selector stands for, nil if it stands for none.
func (r *reading) leaf(matchers []*labels.Matcher) storage.SeriesSet {
	n, ok := pushdown.LeafOf(matchers)
	if !ok || n >= len(r.leaves) {
		return nil
	}
	samples := r.leaves[n].samples
	for i := range samples {
		r.made.add(samples[i].Metric)
	}
	r.made.points += int64(len(samples))
	if err := r.holdMade(); err != nil {
		r.failure = err
		return storage.ErrSeriesSet(err)
	}
	return &leafSet{leaf: &r.leaves[n], at: r.run.start, next: -1}
}

// leafSet is the samples of a leaf as series with one each.
type leafSet struct {
	leaf *leafResult
	at   int64
	next int
}

// Next implements [storage.SeriesSet].
func (s *leafSet) Next() bool { s.next++; return s.next < len(s.leaf.samples) }

// At implements [storage.SeriesSet].
func (s *leafSet) At() storage.Series { return leafSeries{&s.leaf.samples[s.next], s.at} }

// Err implements [storage.SeriesSet].
func (s *leafSet) Err() error { return nil }

// Warnings implements [storage.SeriesSet].
func (s *leafSet) Warnings() annotations.Annotations { return s.leaf.annotations }

// leafSeries is a sample as a series.
type leafSeries struct {
	sample *Sample
	at     int64
}

// Labels implements [storage.Series].
func (s leafSeries) Labels() labels.Labels { return s.sample.Metric }

// Iterator implements [storage.Series].
func (s leafSeries) Iterator(reused chunkenc.Iterator) chunkenc.Iterator {
	it, ok := reused.(*leafIterator)
	if !ok {
		it = new(leafIterator)
	}
	*it = leafIterator{leafSeries: s}
	return it
}

// leafIterator yields a sample.
type leafIterator struct {
	leafSeries
	moved int
}

// Next implements [chunkenc.Iterator].
func (it *leafIterator) Next() chunkenc.ValueType {
	it.moved++
	return it.kind()
}

// ms are milliseconds since the epoch. Vet takes a Seek of an int64 for that of an
// [io.Seeker].
type ms = int64

// Seek implements [chunkenc.Iterator].
func (it *leafIterator) Seek(t ms) chunkenc.ValueType {
	if it.moved = max(it.moved, 1); t > it.at {
		it.moved = 2
	}
	return it.kind()
}

func (it *leafIterator) kind() chunkenc.ValueType {
	switch {
	case it.moved > 1:
		return chunkenc.ValNone
	case it.sample.H != nil:
		return chunkenc.ValFloatHistogram
	}
	return chunkenc.ValFloat
}

// At implements [chunkenc.Iterator].
func (it *leafIterator) At() (int64, float64) { return it.at, it.sample.F }

// AtHistogram implements [chunkenc.Iterator]. There is none of integers.
func (it *leafIterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) {
	return it.at, nil
}

// AtFloatHistogram implements [chunkenc.Iterator].
func (it *leafIterator) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	if h == nil {
		return it.at, it.sample.H.Copy()
	}
	it.sample.H.CopyTo(h)
	return it.at, h
}

// AtT implements [chunkenc.Iterator].
func (it *leafIterator) AtT() int64 { return it.at }

// AtST implements [chunkenc.Iterator]. Starts are not kept.
func (it *leafIterator) AtST() int64 { return 0 }

// Err implements [chunkenc.Iterator].
func (it *leafIterator) Err() error { return nil }
