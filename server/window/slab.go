package window

import (
	"encoding/binary"
	"slices"

	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/promgrpc/exporter/server/chunk"
)

// slab is samples of a page that were encoded together. Nearly all series have floats in
// order, at the timestamps that the series before them have: of such a one there are a
// chunk's bytes, and which timing it has. It is never changed.
type slab struct {
	min, max int64 // timestamps
	samples  int64
	offsets  []uint16 // of the regular series, ascending
	ends     []uint32 // of their bytes in data
	timing   []uint16 // of them, by number
	data     []byte
	timings  []timing
	others   []irregular // by offset
	size     int64       // bytes of others
}

// timing is what series have in common that were scraped together.
type timing struct {
	min, max int64
	lags     []byte
}

// irregular is a series that has histograms, or samples that are not in order.
type irregular struct {
	offset uint16
	chunks []chunk.Chunk
}

const (
	slabBytes   = 200 // with the pointer to it
	timingBytes = 48
	// chunkBytes is what a chunk takes besides its bytes.
	chunkBytes = 120
)

func (s *slab) bytes() int64 {
	n := slabBytes + 8*len(s.offsets) + cap(s.data) + timingBytes*len(s.timings)
	for i := range s.timings {
		n += len(s.timings[i].lags)
	}
	return int64(n) + s.size
}

// chunks appends the chunks of a series.
func (s *slab) chunks(offset uint16, dst []chunk.Chunk, touches func(lowest, highest int64) bool) []chunk.Chunk {
	if i, ok := slices.BinarySearch(s.offsets, offset); ok {
		t := &s.timings[s.timing[i]]
		if !touches(t.min, t.max) {
			return dst
		}
		from := uint32(0)
		if i > 0 {
			from = s.ends[i-1]
		}
		data, _ := chunkenc.FromData(chunkenc.EncXOR, s.data[from:s.ends[i]:s.ends[i]]) // It knows the encoding.
		return append(dst, chunk.Chunk{Min: t.min, Max: t.max, Data: data, Lags: t.lags})
	}
	if i, ok := slices.BinarySearchFunc(s.others, irregular{offset: offset}, byOffset); ok {
		for _, c := range s.others[i].chunks {
			if touches(c.Min, c.Max) {
				dst = append(dst, c)
			}
		}
	}
	return dst
}

func appendLag(lags []byte, p *part) []byte {
	return binary.AppendUvarint(lags, chunk.Lag(p.timestamp, p.time))
}
