package promapi

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/promgrpc/exporter/server/promql"
)

// What a result takes in memory, besides its labels and its buckets.
const (
	seriesBytes = 128
	pointBytes  = 16
	bucketBytes = 8
	spanBytes   = 8
)

// sizeOf is about what a value takes.
func sizeOf(v parser.Value) (bytes int64) {
	switch v := v.(type) {
	case promql.Vector:
		for i := range v {
			bytes += seriesBytes + int64(v[i].Metric.ByteSize()) + histogramBytes(v[i].H)
		}
	case promql.Matrix:
		for i := range v {
			s := &v[i]
			bytes += seriesBytes + int64(s.Metric.ByteSize()) + pointBytes*int64(len(s.Floats)+len(s.Histograms))
			for _, p := range s.Histograms {
				bytes += histogramBytes(p.H)
			}
		}
	}
	return bytes
}

func histogramBytes(h *histogram.FloatHistogram) int64 {
	if h == nil {
		return 0
	}
	return seriesBytes + bucketBytes*int64(len(h.PositiveBuckets)+len(h.NegativeBuckets)+len(h.CustomValues)) +
		spanBytes*int64(len(h.PositiveSpans)+len(h.NegativeSpans))
}

// result appends the value of an evaluation, with its type. The object stays open.
func (e *encoder) result(v parser.Value) {
	e.raw(`{"resultType":`)
	e.text(string(v.Type()))
	e.raw(`,"result":`)
	switch v := v.(type) {
	case promql.Vector:
		e.list(len(v), func(i int) { e.sample(&v[i]) })
	case promql.Matrix:
		e.list(len(v), func(i int) { e.series(&v[i]) })
	case promql.Scalar:
		e.point(v.T, func() { e.float(v.V) })
	case promql.String:
		e.point(v.T, func() { e.text(v.V) })
	}
}

// point appends a time with a value.
func (e *encoder) point(ms int64, value func()) {
	e.raw("[")
	e.timestamp(ms)
	e.raw(",")
	value()
	e.raw("]")
}

func (e *encoder) sample(s *promql.Sample) {
	e.raw(`{"metric":`)
	e.labels(s.Metric)
	if s.H == nil {
		e.raw(`,"value":`)
		e.point(s.T, func() { e.float(s.F) })
	} else {
		e.raw(`,"histogram":`)
		e.point(s.T, func() { e.histogram(s.H) })
	}
	e.raw("}")
}

func (e *encoder) series(s *promql.Series) {
	e.raw(`{"metric":`)
	e.labels(s.Metric)
	if len(s.Floats) > 0 {
		e.raw(`,"values":`)
		e.list(len(s.Floats), func(i int) {
			p := s.Floats[i]
			e.point(p.T, func() { e.float(p.F) })
		})
	}
	if len(s.Histograms) > 0 {
		e.raw(`,"histograms":`)
		e.list(len(s.Histograms), func(i int) {
			p := s.Histograms[i]
			e.point(p.T, func() { e.histogram(p.H) })
		})
	}
	e.raw("}")
}
