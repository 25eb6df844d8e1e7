package remotewrite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/protoscan"
)

// histogramScan is a native histogram as it is scanned. Its slices are reused for the
// next one.
type histogramScan struct {
	isFloat, zeroIsFloat bool
	count, zero          uint64 // float bits, when they are floats
	sum, zeroThreshold   uint64
	schema               int32
	hint                 int32
	timestamp, start     int64
	negSpans, posSpans   []histogram.Span
	negDeltas, posDeltas []int64
	negCounts, posCounts []float64
	custom               []float64
	// strict says that the bytes may be kept as they are.
	strict bool

	ints   histogram.Histogram
	floats histogram.FloatHistogram
}

// checkHistograms checks the histograms of a series. One that is wrong is refused by
// itself. Those without a start timestamp get the created one, if any.
func (r *Request) checkHistograms(s *Series, start mark, created int64) error {
	kept := r.Histograms[:start.histograms]
	for _, h := range r.Histograms[start.histograms:] {
		timestamp, data, err := r.histogram(h.Data, created)
		switch {
		case r.memory.err != nil:
			return r.memory.err
		case errors.Is(err, errDamaged):
			return err
		case err != nil:
			r.Problems.note(1, err, func() string {
				return fmt.Sprintf("series %s: histogram at %d: %v", r.describe(s), timestamp, err)
			})
			continue
		}
		kept = append(kept, Histogram{Timestamp: timestamp, Data: data, Identity: IdentityOf(data)})
	}
	r.Histograms = kept
	return nil
}

// fixedOfHistogram is what a histogram takes at most besides its buckets.
const fixedOfHistogram = 256

func (r *Request) histogram(b []byte, created int64) (int64, []byte, error) {
	h := &r.h
	h.reset()
	err := h.scan(b, r.limits.Buckets)
	if err == nil && len(b) > r.limits.HistogramBytes {
		err = limit.Over(flagHistogramBytes, "%d bytes, the limit is %d", len(b), r.limits.HistogramBytes)
	}
	if err != nil {
		return h.timestamp, nil, err
	}
	if h.isFloat != h.zeroIsFloat && h.zero != 0 {
		// A zero count of the other kind is ignored.
		h.zero, h.strict = 0, false
	}
	if h.isFloat && len(h.negDeltas)+len(h.posDeltas) > 0 || !h.isFloat && len(h.negCounts)+len(h.posCounts) > 0 {
		h.strict = false
	}
	if err := h.validate(); err != nil {
		return h.timestamp, nil, err
	}
	if h.start == 0 && created != 0 {
		h.start = created
		if h.strict {
			if !r.space(len(b) + fixedOfHistogram) {
				return h.timestamp, nil, r.memory.err
			}
			from := len(r.scratch)
			r.scratch = append(r.scratch, b...)
			r.scratch = appendVarint(r.scratch, fieldStartTimestamp, uint64(created))
			return h.timestamp, r.scratch[from:len(r.scratch):len(r.scratch)], nil
		}
	}
	if h.strict {
		return h.timestamp, b, nil
	}
	if !r.space(3*len(b) + fixedOfHistogram) { // A span of nothing becomes three times as long.
		return h.timestamp, nil, r.memory.err
	}
	from := len(r.scratch)
	r.scratch = h.append(r.scratch)
	return h.timestamp, r.scratch[from:len(r.scratch):len(r.scratch)], nil
}

func (h *histogramScan) reset() {
	*h = histogramScan{
		negSpans: h.negSpans[:0], posSpans: h.posSpans[:0],
		negDeltas: h.negDeltas[:0], posDeltas: h.posDeltas[:0],
		negCounts: h.negCounts[:0], posCounts: h.posCounts[:0],
		custom: h.custom[:0],
		strict: true,
	}
}

// scan reads a prometheus.Histogram; its fields are those of the Histogram in
// our own API.
func (h *histogramScan) scan(b []byte, maxBuckets int) error {
	over := false
	for i := 0; i < len(b); {
		f, ok := protoscan.Read(b, i)
		if !ok {
			return errDamaged
		}
		i = f.Next
		h.strict = h.strict && f.Strict
		if !h.field(&f, maxBuckets, &over) {
			return errDamaged
		}
	}
	if over {
		return limit.Over(flagBuckets, "more than %d buckets", maxBuckets)
	}
	return nil
}

// wireTypes of the fields of a histogram by number, packed ones apart.
var wireTypes = [...]uint8{
	fieldCountInt:        protoscan.TypeVarint,
	fieldCountFloat:      protoscan.TypeFixed64,
	fieldSum:             protoscan.TypeFixed64,
	fieldHistogramSchema: protoscan.TypeVarint,
	fieldZeroThreshold:   protoscan.TypeFixed64,
	fieldZeroInt:         protoscan.TypeVarint,
	fieldZeroFloat:       protoscan.TypeFixed64,
	fieldNegativeSpans:   protoscan.TypeBytes,
	fieldNegativeDeltas:  protoscan.TypeVarint,
	fieldNegativeCounts:  protoscan.TypeFixed64,
	fieldPositiveSpans:   protoscan.TypeBytes,
	fieldPositiveDeltas:  protoscan.TypeVarint,
	fieldPositiveCounts:  protoscan.TypeFixed64,
	fieldResetHint:       protoscan.TypeVarint,
	fieldHistogramTime:   protoscan.TypeVarint,
	fieldCustomValues:    protoscan.TypeFixed64,
	fieldStartTimestamp:  protoscan.TypeVarint,
}

func (h *histogramScan) field(f *protoscan.Field, maxBuckets int, over *bool) (ok bool) {
	if f.Number >= int32(len(wireTypes)) || f.Number == fieldStartTimestamp && f.Wire != protoscan.TypeVarint {
		h.strict = false
		return true
	}
	if f.Wire != wireTypes[f.Number] && (!packable(f.Number) || f.Wire != protoscan.TypeBytes) {
		return false
	}
	switch f.Number {
	case fieldCountInt:
		h.isFloat, h.count = false, f.Value
	case fieldCountFloat:
		h.isFloat, h.count = true, f.Value
	case fieldSum:
		h.sum = f.Value
	case fieldHistogramSchema:
		h.schema = zigzag32(f.Value)
	case fieldZeroThreshold:
		h.zeroThreshold = f.Value
	case fieldZeroInt:
		h.zeroIsFloat, h.zero = false, f.Value
	case fieldZeroFloat:
		h.zeroIsFloat, h.zero = true, f.Value
	case fieldNegativeSpans:
		h.negSpans, ok = h.span(h.negSpans, f.Bytes, maxBuckets, over)
		return ok
	case fieldNegativeDeltas:
		h.negDeltas, ok = h.deltas(h.negDeltas, f, maxBuckets, over)
		return ok
	case fieldNegativeCounts:
		h.negCounts, ok = counts(h.negCounts, f, maxBuckets, over)
		return ok
	case fieldPositiveSpans:
		h.posSpans, ok = h.span(h.posSpans, f.Bytes, maxBuckets, over)
		return ok
	case fieldPositiveDeltas:
		h.posDeltas, ok = h.deltas(h.posDeltas, f, maxBuckets, over)
		return ok
	case fieldPositiveCounts:
		h.posCounts, ok = counts(h.posCounts, f, maxBuckets, over)
		return ok
	case fieldResetHint:
		h.hint = int32(f.Value)
	case fieldHistogramTime:
		h.timestamp = int64(f.Value)
	case fieldCustomValues:
		h.custom, ok = counts(h.custom, f, maxBuckets, over)
		return ok
	case fieldStartTimestamp:
		h.start = int64(f.Value)
	}
	return true
}

// packable says whether a field is a repeated number, which may be packed.
func packable(number int32) bool {
	switch number {
	case fieldNegativeDeltas, fieldNegativeCounts, fieldPositiveDeltas, fieldPositiveCounts, fieldCustomValues:
		return true
	}
	return false
}

func (h *histogramScan) span(dst []histogram.Span, b []byte, most int, over *bool) ([]histogram.Span, bool) {
	var s histogram.Span
	for i := 0; i < len(b); {
		f, ok := protoscan.Read(b, i)
		if !ok || f.Number <= 2 && f.Wire != protoscan.TypeVarint {
			return dst, false
		}
		i = f.Next
		h.strict = h.strict && f.Strict && f.Number <= 2
		switch f.Number {
		case fieldSpanOffset:
			s.Offset = zigzag32(f.Value)
		case fieldSpanLength:
			s.Length = uint32(f.Value)
		}
	}
	if len(dst) >= most {
		*over = true
		return dst, true
	}
	return append(dst, s), true
}

func (h *histogramScan) deltas(dst []int64, f *protoscan.Field, most int, over *bool) ([]int64, bool) {
	if f.Wire == protoscan.TypeVarint {
		if len(dst) >= most {
			*over = true
			return dst, true
		}
		return append(dst, protowire.DecodeZigZag(f.Value)), true
	}
	for i := 0; i < len(f.Bytes); {
		v, n := protoscan.Varint(f.Bytes, i)
		if n == 0 {
			return dst, false
		}
		if n-i == 10 && f.Bytes[n-1] > 1 {
			h.strict = false
		}
		i = n
		if len(dst) >= most {
			*over = true
			continue
		}
		dst = append(dst, protowire.DecodeZigZag(v))
	}
	return dst, true
}

func counts(dst []float64, f *protoscan.Field, most int, over *bool) ([]float64, bool) {
	if f.Wire == protoscan.TypeFixed64 {
		if len(dst) >= most {
			*over = true
			return dst, true
		}
		return append(dst, f.Float()), true
	}
	if len(f.Bytes)%8 != 0 {
		return dst, false
	}
	for b := f.Bytes; len(b) > 0; b = b[8:] {
		if len(dst) >= most {
			*over = true
			break
		}
		dst = append(dst, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	return dst, true
}

// validate checks the histogram as Prometheus does before it stores one. A
// schema finer than the finest that Prometheus stores is made coarser.
func (h *histogramScan) validate() error {
	fine := histogram.IsExponentialSchemaReserved(h.schema) && h.schema > histogram.ExponentialSchemaMax
	schema := h.schema
	if fine {
		schema = histogram.ExponentialSchemaMax // for the checks before
	}
	if h.isFloat {
		h.floats = histogram.FloatHistogram{
			Schema: schema, ZeroThreshold: math.Float64frombits(h.zeroThreshold),
			ZeroCount: math.Float64frombits(h.zero), Count: math.Float64frombits(h.count), Sum: math.Float64frombits(h.sum),
			PositiveSpans: h.posSpans, NegativeSpans: h.negSpans,
			PositiveBuckets: h.posCounts, NegativeBuckets: h.negCounts, CustomValues: orNil(h.custom),
		}
		if err := h.floats.Validate(); err != nil || !fine {
			return err
		}
		return h.reduceFloats()
	}
	h.ints = histogram.Histogram{
		Schema: schema, ZeroThreshold: math.Float64frombits(h.zeroThreshold),
		ZeroCount: h.zero, Count: h.count, Sum: math.Float64frombits(h.sum),
		PositiveSpans: h.posSpans, NegativeSpans: h.negSpans,
		PositiveBuckets: h.posDeltas, NegativeBuckets: h.negDeltas, CustomValues: orNil(h.custom),
	}
	if err := h.ints.Validate(); err != nil || !fine {
		return err
	}
	return h.reduceInts()
}

func orNil(s []float64) []float64 {
	if len(s) == 0 {
		return nil
	}
	return s
}

var errReduce = errors.New("its schema cannot be made coarser")

func (h *histogramScan) reduceInts() error {
	h.ints.Schema = h.schema
	if err := h.ints.ReduceResolution(histogram.ExponentialSchemaMax); err != nil {
		return fmt.Errorf("%w: %w", errReduce, err)
	}
	h.schema, h.strict = histogram.ExponentialSchemaMax, false
	h.posSpans, h.negSpans = h.ints.PositiveSpans, h.ints.NegativeSpans
	h.posDeltas, h.negDeltas = h.ints.PositiveBuckets, h.ints.NegativeBuckets
	return nil
}

func (h *histogramScan) reduceFloats() error {
	h.floats.Schema = h.schema
	if err := h.floats.ReduceResolution(histogram.ExponentialSchemaMax); err != nil {
		return fmt.Errorf("%w: %w", errReduce, err)
	}
	h.schema, h.strict = histogram.ExponentialSchemaMax, false
	h.posSpans, h.negSpans = h.floats.PositiveSpans, h.floats.NegativeSpans
	h.posCounts, h.negCounts = h.floats.PositiveBuckets, h.floats.NegativeBuckets
	return nil
}
