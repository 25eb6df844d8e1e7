package query

import (
	"iter"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/server/promql"
)

// sample is what a series results in at a step.
type sample struct {
	labels    labels.Labels
	float     float64
	histogram *histogram.FloatHistogram // nil: it is a float
}

// step is what an expression results in at a time.
type step struct {
	time    int64
	samples []sample // sorted by labels
	notes
}

// notes is what is said of steps besides their results.
type notes struct {
	late        uint64
	annotations []*queryv1.Annotation
}

// staleMarker is the float of a series that has no value any more.
var staleMarker = math.Float64frombits(0x7ff0000000000002)

// same says whether two values are the same, bit by bit.
func (s *sample) same(other *sample) bool {
	if s.histogram == nil || other.histogram == nil {
		return s.histogram == other.histogram && math.Float64bits(s.float) == math.Float64bits(other.float)
	}
	return s.histogram.Equals(other.histogram)
}

// steps takes a result apart, into those of n steps from the first on.
func steps(result *promql.Result, expression string, first, length int64, n int) []step {
	all := make([]step, n)
	for i := range all {
		all[i].time = first + int64(i)*length
	}
	add := func(ms int64, s sample) {
		i := (ms - first) / length
		all[i].samples = append(all[i].samples, s)
	}
	switch v := result.Value.(type) {
	case promql.Scalar:
		add(first, sample{labels: labels.EmptyLabels(), float: v.V})
	case promql.Vector:
		for _, s := range v {
			add(first, sample{s.Metric, s.F, plain(s.H)})
		}
	case promql.Matrix:
		for _, s := range v {
			for _, p := range s.Floats {
				add(p.T, sample{labels: s.Metric, float: p.F})
			}
			for _, p := range s.Histograms {
				add(p.T, sample{labels: s.Metric, histogram: plain(p.H)})
			}
		}
	}
	for i := range all {
		slices.SortFunc(all[i].samples, func(a, b sample) int { return labels.Compare(a.labels, b.labels) })
	}
	all[n-1].notes = notesOf(result, expression)
	return all
}

// plain is a histogram that says nothing of what came before it in a chunk: that depends
// on how much was read at a time.
func plain(h *histogram.FloatHistogram) *histogram.FloatHistogram {
	if h == nil || h.CounterResetHint == histogram.GaugeType || h.CounterResetHint == histogram.UnknownCounterReset {
		return h
	}
	unhinted := *h
	unhinted.CounterResetHint = histogram.UnknownCounterReset
	return &unhinted
}

func notesOf(result *promql.Result, expression string) notes {
	return notes{late: result.Late, annotations: promql.AnnotationMessages(result.Annotations, expression)}
}

// bytes is about what a step takes in memory.
func (s *step) bytes() int64 {
	n := int64(len(s.samples)) * sampleBytes
	for i := range s.samples {
		n += sizeOf(&s.samples[i])
	}
	return n
}

const (
	sampleBytes = 64
	bucketBytes = 8
)

func sizeOf(s *sample) int64 {
	n := int64(0)
	s.labels.Range(func(l labels.Label) { n += int64(len(l.Name) + len(l.Value)) })
	if s.histogram != nil {
		n += sampleBytes + bucketBytes*int64(len(s.histogram.PositiveBuckets)+len(s.histogram.NegativeBuckets)+len(s.histogram.CustomValues))
	}
	return n
}

// change is what became of a series from one step to the next: one of both is nil if it
// came or went.
type change struct {
	before, now     *sample
	beforeAt, nowAt int
}

// changes yields each series of two steps, by labels. before may be nil.
func changes(before, now *step) iter.Seq[change] {
	var old []sample
	if before != nil {
		old = before.samples
	}
	return func(yield func(change) bool) {
		for i, j := 0, 0; i < len(old) || j < len(now.samples); {
			c, order := change{beforeAt: i, nowAt: j}, 1
			switch {
			case j == len(now.samples):
				order = -1
			case i < len(old):
				order = labels.Compare(old[i].labels, now.samples[j].labels)
			}
			if order <= 0 {
				c.before = &old[i]
				i++
			}
			if order >= 0 {
				c.now = &now.samples[j]
				j++
			}
			if !yield(c) {
				return
			}
		}
	}
}
