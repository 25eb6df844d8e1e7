package remotewrite

import (
	"encoding/binary"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
)

// append writes the histogram anew, without what it should not have had.
func (h *histogramScan) append(dst []byte) []byte {
	// The counts are of a oneof: which one is set matters even when it is 0.
	if h.isFloat {
		dst = binary.LittleEndian.AppendUint64(append(dst, 0x11), h.count)
	} else {
		dst = binary.AppendUvarint(append(dst, 0x08), h.count)
	}
	dst = appendDouble(dst, 0x19, math.Float64frombits(h.sum))
	if h.schema != 0 {
		dst = binary.AppendUvarint(append(dst, 0x20), uint64(zag32(h.schema)))
	}
	dst = appendDouble(dst, 0x29, math.Float64frombits(h.zeroThreshold))
	if h.isFloat {
		dst = binary.LittleEndian.AppendUint64(append(dst, 0x39), h.zero)
	} else {
		dst = binary.AppendUvarint(append(dst, 0x30), h.zero)
	}
	dst = appendSpans(dst, 0x42, h.negSpans)
	if h.isFloat {
		dst = appendCounts(dst, h.negCounts, 0x52)
	} else {
		dst = appendDeltas(dst, 0x4a, h.negDeltas)
	}
	dst = appendSpans(dst, 0x5a, h.posSpans)
	if h.isFloat {
		dst = appendCounts(dst, h.posCounts, 0x6a)
	} else {
		dst = appendDeltas(dst, 0x62, h.posDeltas)
	}
	if h.hint != 0 {
		dst = binary.AppendUvarint(append(dst, 0x70), uint64(int64(h.hint)))
	}
	if h.timestamp != 0 {
		dst = binary.AppendUvarint(append(dst, 0x78), uint64(h.timestamp))
	}
	dst = appendCounts(dst, h.custom, 0x82, 0x01)
	if h.start != 0 {
		dst = appendStart(dst, h.start)
	}
	return dst
}

func appendStart(dst []byte, start int64) []byte {
	return binary.AppendUvarint(append(dst, 0x88, 0x01), uint64(start))
}

func appendSpans(dst []byte, tag byte, spans []histogram.Span) []byte {
	for _, s := range spans {
		offset := uint64(zag32(s.Offset))
		dst = append(dst, tag, byte(2+uvarintLen(offset)+uvarintLen(uint64(s.Length))))
		dst = binary.AppendUvarint(append(dst, 0x08), offset)
		dst = binary.AppendUvarint(append(dst, 0x10), uint64(s.Length))
	}
	return dst
}

func appendDeltas(dst []byte, tag byte, deltas []int64) []byte {
	if len(deltas) == 0 {
		return dst
	}
	size := 0
	for _, d := range deltas {
		size += uvarintLen(zag(d))
	}
	dst = binary.AppendUvarint(append(dst, tag), uint64(size))
	for _, d := range deltas {
		dst = binary.AppendUvarint(dst, zag(d))
	}
	return dst
}

func appendCounts(dst []byte, counts []float64, tag ...byte) []byte {
	if len(counts) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(append(dst, tag...), uint64(8*len(counts)))
	for _, c := range counts {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(c))
	}
	return dst
}

func zag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

func zag32(v int32) uint32 { return uint32(v<<1) ^ uint32(v>>31) }
