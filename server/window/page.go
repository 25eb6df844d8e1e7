package window

import (
	"cmp"
	"slices"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/chunk"
)

// page is the samples of pageSize consecutive references. What its slices had when a view
// was taken is never changed.
type page struct {
	number uint64
	epoch  uint64 // of the window, when it was copied last
	queued bool   // it is among those that are due
	slabs  []*slab
	tail   []part
	since  int64  // the log's time when the tail got its first part
	size   int64  // bytes of the tail
	points int64  // samples of the tail
	id     uint64 // of the tail: another one when parts were taken out of it
}

// part is samples of a block: floats of consecutive references at one timestamp, or a
// histogram.
type part struct {
	values    []float64
	histogram []byte // in wire form, of one reference; nil: values
	timestamp int64
	time      int64 // of the block
	first     uint16
}

const (
	partBytes = 72
	// tailShare is which share of the span a tail is kept for at most.
	tailShare = 5
	// tailBytes is about how large a tail becomes before it is encoded.
	tailBytes = 32 * 8 * pageSize
)

// length is how many samples it has.
func (p *part) length() int {
	if p.histogram != nil {
		return 1
	}
	return len(p.values)
}

func (p *part) has(offset uint16) bool {
	return offset-p.first < uint16(p.length()) // It wraps around below first.
}

func (pg *page) addFloats(w *Window, first uint16, timestamp int64, values []float64) {
	pg.add(w, part{values: values, timestamp: timestamp, time: w.time, first: first}, 8*len(values), len(values))
}

func (pg *page) addHistogram(w *Window, h *segment.Histogram) {
	pg.add(w, part{histogram: h.Data, timestamp: h.Timestamp, time: w.time, first: uint16(h.Ref % pageSize)}, len(h.Data), 1)
}

func (pg *page) add(w *Window, p part, bytes, n int) {
	if len(pg.tail) == 0 {
		pg.since = w.time
	}
	size := int64(bytes + partBytes)
	pg.tail = append(pg.tail, p)
	pg.size += size
	pg.points += int64(n)
	w.count(size, int64(n))
	if pg.due(w) {
		w.queue(pg.number)
	}
}

// due says whether the tail is to be encoded.
func (pg *page) due(w *Window) bool {
	return !pg.queued && len(pg.tail) > 0 && (pg.size >= tailBytes || w.time-pg.since >= w.span/tailShare)
}

func (pg *page) empty() bool { return len(pg.slabs)+len(pg.tail) == 0 }

// old says whether something of it is too old.
func (pg *page) old(oldest int64) bool {
	return slices.ContainsFunc(pg.slabs, func(s *slab) bool { return s.max < oldest }) ||
		len(pg.tail) > 0 && pg.tail[0].timestamp < oldest
}

// drop drops slabs and parts that are too old.
func (pg *page) drop(w *Window, oldest int64) {
	var slabs []*slab
	for _, s := range pg.slabs {
		if s.max < oldest {
			w.count(-s.bytes(), -s.samples)
			continue
		}
		slabs = append(slabs, s)
	}
	pg.slabs = slabs
	tail := make([]part, 0, len(pg.tail))
	for _, p := range pg.tail {
		if p.timestamp >= oldest {
			tail = append(tail, p)
		}
	}
	pg.setTail(w, tail)
}

// setTail replaces the tail.
func (pg *page) setTail(w *Window, tail []part) {
	var size, points int64
	for i := range tail {
		p := &tail[i]
		size += int64(partBytes + 8*len(p.values) + len(p.histogram))
		points += int64(p.length())
	}
	w.count(size-pg.size, points-pg.points)
	pg.tail, pg.size, pg.points = tail, size, points
	w.tails++
	pg.id = w.tails
	if len(tail) > 0 {
		pg.since = tail[0].time
	}
}

// end is after all its samples.
func (pg *page) end() int64 {
	end := int64(minTime)
	for _, s := range pg.slabs {
		end = max(end, s.max+1)
	}
	for i := range pg.tail {
		end = max(end, pg.tail[i].timestamp+1)
	}
	return end
}

// latest returns the latest timestamp of a series, and whether there is one.
func (pg *page) latest(offset uint16) (latest int64, ok bool) {
	latest = minTime
	for _, s := range pg.slabs {
		for _, c := range s.chunks(offset, nil, func(int64, int64) bool { return true }) {
			latest, ok = max(latest, c.Max), true
		}
	}
	for i := range pg.tail {
		if p := &pg.tail[i]; p.has(offset) {
			latest, ok = max(latest, p.timestamp), true
		}
	}
	return latest, ok
}

// built returns the chunks of a series that is in parts, of whichever kind, and not in
// order.
func built(tail []part, offset uint16) []chunk.Chunk {
	var b chunk.Builder
	for i := range tail {
		if p := &tail[i]; p.has(offset) {
			p.addTo(&b, offset)
		}
	}
	return b.Take()
}

// addTo adds the sample of a series. A histogram that is none is left out.
func (p *part) addTo(b *chunk.Builder, offset uint16) {
	lag := chunk.Lag(p.timestamp, p.time)
	if p.histogram != nil {
		_ = b.Wire(p.timestamp, lag, p.histogram)
		return
	}
	b.Float(p.timestamp, lag, p.values[offset-p.first])
}

// byOffset orders entries of series.
func byOffset(a, b irregular) int { return cmp.Compare(a.offset, b.offset) }
