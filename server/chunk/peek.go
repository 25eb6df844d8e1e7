package chunk

import (
	"cmp"
	"slices"
	"unsafe"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// Chunks returns what Take would, and goes on: the builder may be added to while that is
// read.
func (b *Builder) Chunks() []Chunk {
	chunks := b.ascending.chunks(nil)
	if len(b.late) == 0 {
		return chunks
	}
	var c chain
	late := sortLate(slices.Clone(b.late))
	for i := range late {
		c.add(&late[i])
	}
	return c.take(chunks)
}

// sortLate sorts samples, which is stable, and leaves the first at each timestamp.
func sortLate(late []sample) []sample {
	slices.SortStableFunc(late, func(a, b sample) int { return cmp.Compare(a.t, b.t) })
	return slices.CompactFunc(late, func(a, b sample) bool { return a.t == b.t })
}

// chunks appends the chunks to dst, with a copy of the open one.
func (c *chain) chunks(dst []Chunk) []Chunk {
	dst = append(dst, c.done...)
	if c.open.Data == nil {
		return dst
	}
	open := c.open
	// It was encoded as what it is.
	open.Data, _ = chunkenc.FromData(open.Data.Encoding(), slices.Clone(open.Data.Bytes()))
	if c.lagged {
		open.Lags = slices.Clone(c.lags)
	}
	return append(dst, open)
}

// BuilderBytes is what a builder takes at least, with an open chunk and its appender.
const BuilderBytes = int64(unsafe.Sizeof(Builder{})) + 256

// What a chunk takes besides its bytes, and a sample that waits.
const (
	chunkBytes = int64(unsafe.Sizeof(Chunk{})) + 48
	lateBytes  = int64(unsafe.Sizeof(sample{})) + 256
)

// Bytes is about what the builder takes in memory.
func (b *Builder) Bytes() int64 {
	n := BuilderBytes + int64(len(b.late))*lateBytes + int64(cap(b.ascending.lags))
	for i := range b.ascending.done {
		c := &b.ascending.done[i]
		n += chunkBytes + int64(len(c.Data.Bytes())+len(c.Lags))
	}
	if b.ascending.open.Data != nil {
		n += int64(cap(b.ascending.open.Data.Bytes()))
	}
	return n
}
