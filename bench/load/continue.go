package load

import (
	"maps"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
)

// A recording goes on without an end: it is played again and again. What rises is played
// from where it has got to: its last sample is the first of the next time, with what it
// has grown by so far. What falls at times, as a gauge does, starts again as it was.

// value of a step, the first of which is 0.
func (c *curve) value(step int) float64 {
	last := len(c.values) - 1
	if !c.rises {
		return c.values[step%len(c.values)]
	}
	times, i := step/last, step%last
	if times == 0 {
		return c.values[i]
	}
	v := c.values[i] + float64(times)*(c.values[last]-c.values[0])
	// The sum of two decimal fractions is mostly not the closest number to the decimal
	// fraction that an exporter would print.
	if whole := v * c.scale; c.scale > 1 && math.Abs(whole) < 1<<53 {
		return math.Round(whole) / c.scale
	}
	return v
}

// histogram of a step. Native histograms only rise.
func (c *curve) histogram(step int) *histogram.Histogram {
	last := len(c.histograms) - 1
	times, i := step/last, step%last
	h := c.histograms[i].Copy()
	h.CounterResetHint = histogram.UnknownCounterReset
	if times == 0 {
		return h
	}
	from, to := c.histograms[0], c.histograms[last]
	h.Count += uint64(times) * (to.Count - from.Count)
	h.ZeroCount += uint64(times) * (to.ZeroCount - from.ZeroCount)
	h.Sum += float64(times) * (to.Sum - from.Sum)
	counts, before, after := counts(h), counts(from), counts(to)
	for side := range counts {
		for bucket, n := range after[side] {
			if grown := n - before[side][bucket]; grown > 0 {
				counts[side][bucket] += int64(times) * grown
			}
		}
	}
	h.PositiveSpans, h.PositiveBuckets = spans(counts[0])
	h.NegativeSpans, h.NegativeBuckets = spans(counts[1])
	return h
}

// counts of the buckets above and below zero, by their index.
func counts(h *histogram.Histogram) (sides [2]map[int32]int64) {
	for side, buckets := range []histogram.BucketIterator[uint64]{h.PositiveBucketIterator(), h.NegativeBucketIterator()} {
		sides[side] = map[int32]int64{}
		for buckets.Next() {
			sides[side][buckets.At().Index] = int64(buckets.At().Count)
		}
	}
	return sides
}

// spans lays out buckets as histograms have them: a span for each run of indices, and
// each count as the difference from the one before.
func spans(counts map[int32]int64) (spans []histogram.Span, deltas []int64) {
	next, before := int32(0), int64(0)
	for _, index := range slices.Sorted(maps.Keys(counts)) {
		if len(spans) == 0 || index != next {
			spans = append(spans, histogram.Span{Offset: index - next})
		}
		spans[len(spans)-1].Length++
		deltas = append(deltas, counts[index]-before)
		next, before = index+1, counts[index]
	}
	return spans, deltas
}
