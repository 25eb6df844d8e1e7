package chunk

import (
	"encoding/binary"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// most is how many samples a chunk has at most, as in Prometheus.
const most = 120

// chain makes chunks of samples whose timestamps ascend.
type chain struct {
	done []Chunk
	open Chunk             // Data is nil before the first sample
	app  chunkenc.Appender // of Data
	n    int               // samples in it

	lags   []byte
	lagged bool // some lag is not 0

	shape shape
	stale bool // the last sample says that the series ended
}

// shape is what the histograms of a chunk have to share, as none is changed so that it
// fits in.
type shape struct {
	schema             int32
	zeroThreshold      float64
	positive, negative []histogram.Span
	custom             []float64
}

func (s *shape) equal(other *shape) bool {
	return s.schema == other.schema && s.zeroThreshold == other.zeroThreshold &&
		slices.Equal(s.positive, other.positive) && slices.Equal(s.negative, other.negative) && slices.Equal(s.custom, other.custom)
}

// add adds a sample that is later than all before it.
func (c *chain) add(s *sample) {
	switch {
	case s.integer != nil:
		h := s.integer
		is := shape{h.Schema, h.ZeroThreshold, h.PositiveSpans, h.NegativeSpans, h.CustomValues}
		c.histogram(chunkenc.EncHistogram, s.t, &is, h.Sum, func() error {
			_, _, _, err := c.app.AppendHistogram(nil, 0, s.t, h, true)
			return err
		})
	case s.floats != nil:
		h := s.floats
		is := shape{h.Schema, h.ZeroThreshold, h.PositiveSpans, h.NegativeSpans, h.CustomValues}
		c.histogram(chunkenc.EncFloatHistogram, s.t, &is, h.Sum, func() error {
			_, _, _, err := c.app.AppendFloatHistogram(nil, 0, s.t, h, true)
			return err
		})
	default:
		if !c.fits(chunkenc.EncXOR) {
			c.start(chunkenc.EncXOR, s.t)
		}
		c.app.Append(0, s.t, s.float)
	}
	c.n++
	c.open.Max = s.t
	c.lagged = c.lagged || s.lag > 0
	c.lags = binary.AppendUvarint(c.lags, s.lag)
}

// histogram appends one to the open chunk or, if that cannot take it as it is, to a new one.
func (c *chain) histogram(enc chunkenc.Encoding, t int64, is *shape, sum float64, appendTo func() error) {
	stale := value.IsStaleNaN(sum)
	if c.fits(enc) && (stale || !c.stale && c.shape.equal(is)) && appendTo() == nil {
		c.stale = stale
		return
	}
	c.start(enc, t)
	c.shape, c.stale = *is, stale
	_ = appendTo() // An empty chunk takes any.
}

// fits says whether the open chunk is of an encoding, and has room.
func (c *chain) fits(enc chunkenc.Encoding) bool {
	if c.open.Data == nil || c.open.Data.Encoding() != enc || c.n >= most {
		return false
	}
	return enc == chunkenc.EncXOR || c.n < chunkenc.MinSamplesPerHistogramChunk || len(c.open.Data.Bytes()) < chunkenc.TargetBytesPerHistogramChunk
}

// start opens a chunk.
func (c *chain) start(enc chunkenc.Encoding, t int64) {
	c.finish()
	c.open.Min = t
	switch enc {
	case chunkenc.EncHistogram:
		c.open.Data = chunkenc.NewHistogramChunk()
	case chunkenc.EncFloatHistogram:
		c.open.Data = chunkenc.NewFloatHistogramChunk()
	default:
		c.open.Data = chunkenc.NewXORChunk()
	}
	c.app, _ = c.open.Data.Appender() // It fails for one that has samples, and is damaged.
}

// finish closes the open chunk.
func (c *chain) finish() {
	if c.open.Data == nil {
		return
	}
	c.open.Data.Compact()
	if c.lagged {
		c.open.Lags = slices.Clone(c.lags)
	}
	c.done = append(c.done, c.open)
	c.open, c.app, c.n = Chunk{}, nil, 0
	c.lags, c.lagged = c.lags[:0], false
	c.shape, c.stale = shape{}, false
}

// take appends the chunks to dst, and starts over.
func (c *chain) take(dst []Chunk) []Chunk {
	c.finish()
	dst = append(dst, c.done...)
	clear(c.done)
	c.done = c.done[:0]
	return dst
}
