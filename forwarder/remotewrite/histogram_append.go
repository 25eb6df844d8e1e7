package remotewrite

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of a prometheus.Histogram. Of the negative and the positive buckets, an
// integer histogram has deltas and a float one counts.
const (
	fieldCountInt        = 1
	fieldCountFloat      = 2
	fieldSum             = 3
	fieldHistogramSchema = 4
	fieldZeroThreshold   = 5
	fieldZeroInt         = 6
	fieldZeroFloat       = 7
	fieldNegativeSpans   = 8
	fieldNegativeDeltas  = 9
	fieldNegativeCounts  = 10
	fieldPositiveSpans   = 11
	fieldPositiveDeltas  = 12
	fieldPositiveCounts  = 13
	fieldResetHint       = 14
	fieldHistogramTime   = 15
	fieldCustomValues    = 16
	fieldStartTimestamp  = 17
)

// The fields of a prometheus.BucketSpan.
const (
	fieldSpanOffset = 1
	fieldSpanLength = 2
)

// append writes the histogram again, without what it should not have had.
func (h *histogramScan) append(dst []byte) []byte {
	// The counts are of a oneof: which one is set matters even when it is 0.
	if h.isFloat {
		dst = appendFixed64(dst, fieldCountFloat, h.count)
	} else {
		dst = appendVarint(dst, fieldCountInt, h.count)
	}
	if h.sum != 0 {
		dst = appendFixed64(dst, fieldSum, h.sum)
	}
	if h.schema != 0 {
		dst = appendVarint(dst, fieldHistogramSchema, protowire.EncodeZigZag(int64(h.schema)))
	}
	if h.zeroThreshold != 0 {
		dst = appendFixed64(dst, fieldZeroThreshold, h.zeroThreshold)
	}
	if h.isFloat {
		dst = appendFixed64(dst, fieldZeroFloat, h.zero)
	} else {
		dst = appendVarint(dst, fieldZeroInt, h.zero)
	}
	dst = appendSpans(dst, fieldNegativeSpans, h.negSpans)
	if h.isFloat {
		dst = appendCounts(dst, fieldNegativeCounts, h.negCounts)
	} else {
		dst = appendDeltas(dst, fieldNegativeDeltas, h.negDeltas)
	}
	dst = appendSpans(dst, fieldPositiveSpans, h.posSpans)
	if h.isFloat {
		dst = appendCounts(dst, fieldPositiveCounts, h.posCounts)
	} else {
		dst = appendDeltas(dst, fieldPositiveDeltas, h.posDeltas)
	}
	if h.hint != 0 {
		dst = appendVarint(dst, fieldResetHint, uint64(int64(h.hint)))
	}
	if h.timestamp != 0 {
		dst = appendVarint(dst, fieldHistogramTime, uint64(h.timestamp))
	}
	dst = appendCounts(dst, fieldCustomValues, h.custom)
	if h.start != 0 {
		dst = appendVarint(dst, fieldStartTimestamp, uint64(h.start))
	}
	return dst
}

func appendSpans(dst []byte, number protowire.Number, spans []histogram.Span) []byte {
	for _, s := range spans {
		offset, length := protowire.EncodeZigZag(int64(s.Offset)), uint64(s.Length)
		dst = appendLength(dst, number, protowire.SizeTag(fieldSpanOffset)+protowire.SizeVarint(offset)+
			protowire.SizeTag(fieldSpanLength)+protowire.SizeVarint(length))
		dst = appendVarint(dst, fieldSpanOffset, offset)
		dst = appendVarint(dst, fieldSpanLength, length)
	}
	return dst
}

func appendDeltas(dst []byte, number protowire.Number, deltas []int64) []byte {
	if len(deltas) == 0 {
		return dst
	}
	size := 0
	for _, d := range deltas {
		size += protowire.SizeVarint(protowire.EncodeZigZag(d))
	}
	dst = appendLength(dst, number, size)
	for _, d := range deltas {
		dst = protowire.AppendVarint(dst, protowire.EncodeZigZag(d))
	}
	return dst
}

func appendCounts(dst []byte, number protowire.Number, counts []float64) []byte {
	if len(counts) == 0 {
		return dst
	}
	dst = appendLength(dst, number, 8*len(counts))
	for _, c := range counts {
		dst = protowire.AppendFixed64(dst, math.Float64bits(c))
	}
	return dst
}
