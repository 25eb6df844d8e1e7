package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"google.golang.org/protobuf/encoding/protowire"
)

// Wire adds a histogram in the wire form of a prometheus.Histogram, of whichever kind. It
// adds nothing if that is not a valid one.
func (b *Builder) Wire(t int64, lag uint64, data []byte) error {
	integer, floats, err := DecodeHistogram(data)
	if err == nil {
		b.add(&sample{t: t, lag: lag, integer: integer, floats: floats})
	}
	return err
}

// DecodeHistogram decodes and validates the wire form of a prometheus.Histogram: one of
// the results is not nil. Of one that says that the series ended nothing else is kept.
func DecodeHistogram(data []byte) (*histogram.Histogram, *histogram.FloatHistogram, error) {
	var w wire
	if err := eachField(data, w.field); err != nil {
		return nil, nil, err
	}
	if w.isFloat {
		h := w.floats()
		return nil, h, h.Validate()
	}
	h := w.integer()
	return h, nil, h.Validate()
}

// The numbers of the fields of a prometheus.Histogram, and of a reset hint.
const (
	fieldCountInt       = 1
	fieldCountFloat     = 2
	fieldSum            = 3
	fieldSchema         = 4
	fieldZeroThreshold  = 5
	fieldZeroInt        = 6
	fieldZeroFloat      = 7
	fieldNegativeSpans  = 8
	fieldNegativeDeltas = 9
	fieldNegativeCounts = 10
	fieldPositiveSpans  = 11
	fieldPositiveDeltas = 12
	fieldPositiveCounts = 13
	fieldResetHint      = 14
	fieldCustomValues   = 16

	resetHintGauge = 3
)

// wire is a histogram as it is decoded.
type wire struct {
	isFloat            bool
	count, zero        uint64
	countF, zeroF      float64
	sum, zeroThreshold float64
	schema             int32
	gauge              bool
	negative, positive side
	custom             []float64
}

// hint is all that Prometheus' chunks keep of one. Resets are found by comparing.
func (w *wire) hint() histogram.CounterResetHint {
	if w.gauge {
		return histogram.GaugeType
	}
	return histogram.UnknownCounterReset
}

// side is the buckets on one side of zero.
type side struct {
	spans  []histogram.Span
	deltas []int64
	counts []float64
}

func (w *wire) integer() *histogram.Histogram {
	if value.IsStaleNaN(w.sum) {
		return &histogram.Histogram{Sum: w.sum}
	}
	return &histogram.Histogram{
		CounterResetHint: w.hint(), Schema: w.schema, ZeroThreshold: w.zeroThreshold,
		ZeroCount: w.zero, Count: w.count, Sum: w.sum,
		PositiveSpans: w.positive.spans, PositiveBuckets: w.positive.deltas,
		NegativeSpans: w.negative.spans, NegativeBuckets: w.negative.deltas,
		CustomValues: w.custom,
	}
}

func (w *wire) floats() *histogram.FloatHistogram {
	if value.IsStaleNaN(w.sum) {
		return &histogram.FloatHistogram{Sum: w.sum}
	}
	return &histogram.FloatHistogram{
		CounterResetHint: w.hint(), Schema: w.schema, ZeroThreshold: w.zeroThreshold,
		ZeroCount: w.zeroF, Count: w.countF, Sum: w.sum,
		PositiveSpans: w.positive.spans, PositiveBuckets: w.positive.counts,
		NegativeSpans: w.negative.spans, NegativeBuckets: w.negative.counts,
		CustomValues: w.custom,
	}
}

// field is one of a message: a number, or bytes.
type field struct {
	number protowire.Number
	wire   protowire.Type
	value  uint64
	bytes  []byte
}

func (f *field) float() float64 { return math.Float64frombits(f.value) }

// bound is a float that chunkenc does not keep apart from another zero.
func (f *field) bound() float64 { return f.float() + 0 }

func (w *wire) field(f *field) error {
	switch f.number {
	case fieldCountInt:
		w.isFloat, w.count = false, f.value
	case fieldCountFloat:
		w.isFloat, w.countF = true, f.float()
	case fieldSum:
		w.sum = f.float()
	case fieldSchema:
		w.schema = int32(protowire.DecodeZigZag(f.value & math.MaxUint32))
	case fieldZeroThreshold:
		w.zeroThreshold = f.bound()
	case fieldZeroInt:
		w.zero = f.value
	case fieldZeroFloat:
		w.zeroF = f.float()
	case fieldResetHint:
		w.gauge = f.value == resetHintGauge
	case fieldNegativeSpans:
		return w.negative.span(f)
	case fieldPositiveSpans:
		return w.positive.span(f)
	case fieldNegativeDeltas:
		return appendDeltas(&w.negative.deltas, f)
	case fieldPositiveDeltas:
		return appendDeltas(&w.positive.deltas, f)
	case fieldNegativeCounts:
		return appendFloats(&w.negative.counts, f)
	case fieldPositiveCounts:
		return appendFloats(&w.positive.counts, f)
	case fieldCustomValues:
		if err := appendFloats(&w.custom, f); err != nil {
			return err
		}
		for i := range w.custom {
			w.custom[i] += 0
		}
	}
	return nil
}

func (s *side) span(f *field) error {
	var span histogram.Span
	err := eachField(f.bytes, func(f *field) error {
		switch f.number {
		case 1:
			span.Offset = int32(protowire.DecodeZigZag(f.value & math.MaxUint32))
		case 2:
			span.Length = uint32(f.value)
		}
		return nil
	})
	s.spans = append(s.spans, span)
	return err
}

var errWire = errors.New("decode histogram: it is no valid message")

// eachField calls do for the fields of a message.
func eachField(b []byte, do func(*field) error) error {
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		f := field{number: number, wire: wire}
		switch wire {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.value, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, wire, b)
		}
		if n < 0 {
			return errWire
		}
		b = b[n:]
		if err := do(&f); err != nil {
			return err
		}
	}
	return nil
}

// appendDeltas appends one number or, packed, any amount.
func appendDeltas(dst *[]int64, f *field) error {
	if f.wire == protowire.VarintType {
		*dst = append(*dst, protowire.DecodeZigZag(f.value))
		return nil
	}
	for b := f.bytes; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return errWire
		}
		b = b[n:]
		*dst = append(*dst, protowire.DecodeZigZag(v))
	}
	return nil
}

func appendFloats(dst *[]float64, f *field) error {
	if f.wire == protowire.Fixed64Type {
		*dst = append(*dst, f.float())
		return nil
	}
	if len(f.bytes)%8 != 0 {
		return fmt.Errorf("%w: %d bytes of floats", errWire, len(f.bytes))
	}
	for b := f.bytes; len(b) > 0; b = b[8:] {
		*dst = append(*dst, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	return nil
}
