package storeapi

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/promgrpc/exporter/server/chunk"
)

// Numbers of the fields of the messages that are written here by hand.
const (
	fieldSeries = 1 // of a SeriesResponse

	fieldChunks = 2 // of a Series, whose labels are as in a TimeSeries

	fieldMinTime = 1 // of an AggrChunk
	fieldMaxTime = 2
	fieldRaw     = 3

	fieldType = 1 // of a Chunk
	fieldData = 2
)

// encoder writes chunks as fields of a thanos.Series. Those that are in order are passed on
// as they are.
type encoder struct {
	data  chunk.Data
	bytes []byte // room for those of one
	all   []chunk.Chunk
	order []int
	it    chunk.Iterator
	build chunk.Builder
}

// append appends chunks that are in order of arrival, cut to a time. Mixed says that they
// overlap, or that they are not in order of time.
func (n *encoder) append(dst []byte, chunks []chunk.Chunk, cut span) (_ []byte, mixed bool, err error) {
	for i := range chunks {
		c := &chunks[i]
		before := chunkenc.EncNone
		if i > 0 {
			mixed, before = mixed || c.Min <= chunks[i-1].Max, chunks[i-1].Data.Encoding()
		}
		if c.Min >= cut.from && c.Max <= cut.to && !mayEnd(before, c) {
			dst = n.one(dst, c)
			continue
		}
		if dst, err = n.again(dst, chunks[i:i+1], cut, before); err != nil {
			return dst, mixed, err
		}
	}
	return dst, mixed, nil
}

// one appends a chunk.
func (n *encoder) one(dst []byte, c *chunk.Chunk) []byte {
	n.bytes = n.data.Append(n.bytes[:0], c)
	kind := uint64(c.Data.Encoding() - chunkenc.EncXOR)
	raw := 1 + protowire.SizeBytes(len(n.bytes))
	if kind > 0 {
		raw += 1 + protowire.SizeVarint(kind)
	}
	size := 1 + protowire.SizeVarint(uint64(c.Min)) + 1 + protowire.SizeVarint(uint64(c.Max)) + 1 + protowire.SizeBytes(raw)
	dst = protowire.AppendVarint(append(dst, fieldChunks<<3|byte(protowire.BytesType)), uint64(size))
	dst = protowire.AppendVarint(append(dst, fieldMinTime<<3|byte(protowire.VarintType)), uint64(c.Min))
	dst = protowire.AppendVarint(append(dst, fieldMaxTime<<3|byte(protowire.VarintType)), uint64(c.Max))
	dst = protowire.AppendVarint(append(dst, fieldRaw<<3|byte(protowire.BytesType)), uint64(raw))
	if kind > 0 {
		dst = protowire.AppendVarint(append(dst, fieldType<<3|byte(protowire.VarintType)), kind)
	}
	return protowire.AppendBytes(append(dst, fieldData<<3|byte(protowire.BytesType)), n.bytes)
}

// mayEnd says whether a chunk may begin with the stale marker of a histogram.
func mayEnd(before chunkenc.Encoding, c *chunk.Chunk) bool {
	return c.Data.Encoding() == chunkenc.EncXOR && (before == chunkenc.EncHistogram || before == chunkenc.EncFloatHistogram)
}

// again appends the samples that chunks have of a time, encoded again: of those at one
// timestamp that of the first chunk that has one. Before is how the sample before them is
// encoded: a stale marker after a histogram becomes one, as it is in Prometheus' database.
// Where it is a float, queriers begin a counter anew.
func (n *encoder) again(dst []byte, chunks []chunk.Chunk, cut span, before chunkenc.Encoding) ([]byte, error) {
	n.it.Reset(chunks, chunk.All)
	for kind := n.it.Seek(cut.from); kind != chunkenc.ValNone && n.it.AtT() <= cut.to; kind = n.it.Next() {
		switch kind {
		case chunkenc.ValFloat:
			t, v := n.it.At()
			before = n.float(t, v, before)
		case chunkenc.ValHistogram:
			t, h := n.it.AtHistogram(nil)
			n.build.Histogram(t, 0, h)
			before = chunkenc.EncHistogram
		case chunkenc.ValFloatHistogram:
			t, h := n.it.AtFloatHistogram(nil)
			n.build.FloatHistogram(t, 0, h)
			before = chunkenc.EncFloatHistogram
		}
	}
	made := n.build.Take()
	for i := range made {
		dst = n.one(dst, &made[i])
	}
	return dst, n.it.Err()
}

// float adds a float to what is encoded again, and returns as what.
func (n *encoder) float(t int64, v float64, before chunkenc.Encoding) chunkenc.Encoding {
	switch ends := value.IsStaleNaN(v); {
	case ends && before == chunkenc.EncHistogram:
		n.build.Histogram(t, 0, &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)})
	case ends && before == chunkenc.EncFloatHistogram:
		n.build.FloatHistogram(t, 0, &histogram.FloatHistogram{Sum: math.Float64frombits(value.StaleNaN)})
	default:
		n.build.Float(t, 0, v)
		return chunkenc.EncXOR
	}
	return before
}

// merge appends chunks that were written, those of several places one after another, in
// order of time, each timestamp once: of those that overlap, the first ones count.
func (n *encoder) merge(dst []byte, places ...[]byte) ([]byte, error) {
	err := n.decode(places)
	n.order = n.order[:0]
	for i := range n.all {
		n.order = append(n.order, i)
	}
	slices.SortStableFunc(n.order, func(a, b int) int { return cmp.Compare(n.all[a].Min, n.all[b].Min) })
	before := chunkenc.EncNone
	for order := n.order; len(order) > 0 && err == nil; {
		together := n.together(order)
		newest := n.all[order[together-1]].Data.Encoding()
		dst, err = n.mergeTogether(dst, order[:together], before)
		order, before = order[together:], newest
	}
	return dst, err
}

// exact appends the samples of a time that chunks have which were written, so that nothing
// else shows in how they are cut.
func (n *encoder) exact(dst []byte, time span, places ...[]byte) ([]byte, error) {
	if err := n.decode(places); err != nil {
		return dst, err
	}
	return n.again(dst, n.all, time, chunkenc.EncNone)
}

// decode reads chunks that were written.
func (n *encoder) decode(places [][]byte) error {
	n.all = n.all[:0]
	for _, written := range places {
		for len(written) > 0 {
			c, rest, err := decodeChunk(written)
			if err != nil {
				return err
			}
			n.all, written = append(n.all, c), rest
		}
	}
	return nil
}

// together returns how many of the first chunks overlap.
func (n *encoder) together(order []int) int {
	last := n.all[order[0]].Max
	for i, number := range order {
		if i > 0 && n.all[number].Min > last {
			return i
		}
		last = max(last, n.all[number].Max)
	}
	return len(order)
}

func (n *encoder) mergeTogether(dst []byte, order []int, before chunkenc.Encoding) ([]byte, error) {
	if only := &n.all[order[0]]; len(order) == 1 && !mayEnd(before, only) {
		return n.one(dst, only), nil
	}
	slices.Sort(order)
	chunks := make([]chunk.Chunk, len(order))
	for i, number := range order {
		chunks[i] = n.all[number]
	}
	return n.again(dst, chunks, span{chunks[0].Min, chunks[0].Max}.with(chunks), before)
}

// with returns a time that has all of some chunks in it, too.
func (s span) with(chunks []chunk.Chunk) span {
	for i := range chunks {
		s.from, s.to = min(s.from, chunks[i].Min), max(s.to, chunks[i].Max)
	}
	return s
}

var errWritten = errors.New("a chunk is not as it was written")

// decodeChunk reads the first of the chunks that were written, and returns the others.
func decodeChunk(b []byte) (c chunk.Chunk, rest []byte, err error) {
	w := written{rest: b}
	w.next(fieldChunks)
	c.Min, c.Max = int64(w.next(fieldMinTime)), int64(w.next(fieldMaxTime))
	w.next(fieldRaw)
	enc := chunkenc.EncXOR
	if w.at(fieldType) {
		enc += chunkenc.Encoding(w.next(fieldType))
	}
	size := w.next(fieldData)
	if w.wrong || size > uint64(len(w.rest)) {
		return c, nil, errWritten
	}
	c.Data, err = chunkenc.FromData(enc, w.rest[:size:size])
	return c, w.rest[size:], err
}

// written is what is left to read of what was written.
type written struct {
	rest  []byte
	wrong bool
}

// at says whether a field is next.
func (w *written) at(number protowire.Number) bool {
	return len(w.rest) > 0 && protowire.Number(w.rest[0]>>3) == number
}

// next reads the tag of the field that has to be next, and the number after it: its value or
// its size.
func (w *written) next(number protowire.Number) uint64 {
	if w.wrong = w.wrong || !w.at(number); w.wrong {
		return 0
	}
	v, n := protowire.ConsumeVarint(w.rest[1:])
	if w.wrong = n < 0; w.wrong {
		return 0
	}
	w.rest = w.rest[1+n:]
	return v
}
