package window

import (
	"github.com/promgrpc/exporter/server/chunk"
)

// Reader reads many series of a view, by ascending references at best: those that were
// scraped together have much in common. It is for one goroutine.
type Reader struct {
	v        *View
	from, to int64

	page *page
	// parts are those of the tail that have the offsets from first up to end, and lags
	// those of their samples. Regular says that they are floats in order.
	parts      []*part
	lags       []byte
	regular    bool
	first, end uint16

	points []chunk.Point // room for some
}

// Reader returns one for samples from one timestamp to another, both included.
func (v *View) Reader(from, to int64) *Reader { return &Reader{v: v, from: from, to: to} }

func (r *Reader) touches(lowest, highest int64) bool { return lowest <= r.to && highest >= r.from }

// Chunks appends to dst the chunks of a series that may have samples in the range, in order
// of arrival. They may be kept, and keep memory of others that were read.
func (r *Reader) Chunks(ref uint64, dst []chunk.Chunk) []chunk.Chunk {
	pg := at(r.v.list, r.v.first, ref/pageSize)
	if pg == nil {
		return dst
	}
	offset := uint16(ref % pageSize)
	for _, s := range pg.slabs {
		if r.touches(s.min, s.max) {
			dst = s.chunks(offset, dst, r.touches)
		}
	}
	if pg != r.page || offset < r.first || offset >= r.end {
		r.find(pg, offset)
	}
	switch {
	case len(r.parts) == 0:
		return dst
	case !r.regular:
		return append(dst, built(pg.tail, offset)...)
	}
	points := r.room(len(r.parts))
	for i, p := range r.parts {
		points[i] = chunk.Point{T: p.timestamp, V: p.values[offset-p.first]}
	}
	return append(dst, chunk.Floats(points, r.lags))
}

// find finds the parts of a tail that have an offset, and what else has the same.
func (r *Reader) find(pg *page, offset uint16) {
	r.page, r.parts, r.lags, r.regular = pg, r.parts[:0], nil, true
	r.first, r.end = 0, pageSize
	var last int64
	for i := range pg.tail {
		p := &pg.tail[i]
		end := p.first + uint16(p.length())
		switch {
		case offset < p.first:
			r.end = min(r.end, p.first)
			continue
		case offset >= end:
			r.first = max(r.first, end)
			continue
		}
		r.first, r.end = max(r.first, p.first), min(r.end, end)
		if !r.touches(p.timestamp, p.timestamp) {
			continue
		}
		r.regular = r.regular && p.histogram == nil && (len(r.parts) == 0 || p.timestamp > last)
		last = p.timestamp
		r.parts = append(r.parts, p)
	}
	if r.regular && len(r.parts) > 0 {
		lags := make([]byte, 0, len(r.parts))
		for _, p := range r.parts {
			lags = appendLag(lags, p)
		}
		r.lags = lags
	}
}

// pointsAtOnce is for how many points room is made.
const pointsAtOnce = 512

func (r *Reader) room(n int) []chunk.Point {
	if len(r.points) < n {
		r.points = make([]chunk.Point, max(n, pointsAtOnce))
	}
	points := r.points[:n:n]
	r.points = r.points[n:]
	return points
}
