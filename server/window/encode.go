package window

import (
	"slices"
	"sync"

	"github.com/promgrpc/exporter/server/chunk"
)

// Tails are encoded beside the goroutine that applies, which does so itself when mostDue
// pages wait, so that nothing piles up.
const mostDue = 64

// mostParts is how many parts are encoded together: a chunk holds as many samples.
const mostParts = 1 << 15

// queue puts a page among those that are due. The caller holds the lock.
func (w *Window) queue(number uint64) {
	w.page(number).queued = true
	w.due = append(w.due, number)
}

// encodeSome has the pages encoded that are due.
func (w *Window) encodeSome() {
	if w.alone {
		w.encodeDue()
		return
	}
	w.mu.Lock()
	due, start := len(w.due), len(w.due) > 0 && !w.encoding
	w.encoding = w.encoding || start
	w.mu.Unlock()
	if start {
		go w.encodeDue()
	}
	if due > mostDue {
		w.encodeNext()
	}
}

// encodeDue encodes pages until none is due.
func (w *Window) encodeDue() {
	for w.encodeNext() {
		w.memory.fit()
	}
}

// encodeNext encodes the tail of a page that is due. It says whether there may be more.
func (w *Window) encodeNext() bool {
	w.mu.Lock()
	if len(w.due) == 0 {
		w.encoding = false
		w.mu.Unlock()
		return false
	}
	number := w.due[0]
	w.due = w.due[1:]
	pg := at(w.list, w.first, number)
	var tail []part
	var id uint64
	if pg != nil {
		tail, id = pg.tail[:min(len(pg.tail), mostParts)], pg.id
	}
	w.mu.Unlock()
	if pg == nil {
		return true
	}
	s := encode(tail)
	w.mu.Lock()
	defer w.mu.Unlock()
	if pg = at(w.list, w.first, number); pg == nil {
		return true
	}
	pg = w.page(number)
	pg.queued = false
	if pg.id == id {
		pg.replace(w, len(tail), s)
	}
	if pg.due(w) {
		w.queue(number)
	}
	return true
}

// replace puts a slab in place of the first parts of the tail.
func (pg *page) replace(w *Window, parts int, s *slab) {
	if s.samples > 0 {
		pg.slabs = append(slices.Clip(pg.slabs), s)
		w.count(s.bytes(), s.samples)
	}
	pg.setTail(w, slices.Clone(pg.tail[parts:]))
}

// encoder has what encoding takes besides its result. It is reused.
type encoder struct {
	starts [pageSize + 1]uint32 // of the series in the columns
	// The samples by series, and within one in order of arrival: the part that each is
	// in, and the float.
	parts  []uint32
	values []float64

	times []int64 // of the series at hand
	// The columns of the slab.
	offsets []uint16
	ends    []uint32
	timing  []uint16
	data    []byte
	builder chunk.Builder
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// encode encodes a tail. It needs no lock.
func encode(tail []part) *slab {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.transpose(tail)
	s := &slab{min: maxTime, max: minTime}
	var before []uint32 // the parts of the series before, if that is a regular one
	for offset := range pageSize {
		from, to := e.starts[offset], e.starts[offset+1]
		if from == to {
			continue
		}
		parts := e.parts[from:to]
		if before == nil || !slices.Equal(parts, before) {
			if before = nil; s.addTiming(tail, parts) {
				before = parts
				e.setTimes(tail, parts)
			}
		}
		if before == nil {
			s.addIrregular(&e.builder, tail, parts, uint16(offset))
			continue
		}
		e.data = chunk.AppendXOR(e.data, e.times, e.values[from:to])
		e.offsets = append(e.offsets, uint16(offset))
		e.ends = append(e.ends, uint32(len(e.data)))
		e.timing = append(e.timing, uint16(len(s.timings)-1))
		s.samples += int64(len(parts))
	}
	s.data, s.offsets, s.ends, s.timing = slices.Clone(e.data), slices.Clone(e.offsets), slices.Clone(e.ends), slices.Clone(e.timing)
	s.timings, s.others = slices.Clone(s.timings), slices.Clone(s.others)
	return s
}

// transpose puts the samples of parts into the columns.
func (e *encoder) transpose(tail []part) {
	e.data, e.offsets, e.ends, e.timing = e.data[:0], e.offsets[:0], e.ends[:0], e.timing[:0]
	clear(e.starts[:])
	for i := range tail {
		p := &tail[i]
		e.starts[p.first]++
		e.starts[int(p.first)+p.length()]-- // It wraps around.
	}
	at, n := uint32(0), uint32(0)
	for i, change := range e.starts {
		n += change
		e.starts[i] = at
		at += n
	}
	e.parts, e.values = grown(e.parts, int(at)), grown(e.values, int(at))
	next := e.starts
	for i := range tail {
		p := &tail[i]
		if p.histogram != nil {
			e.parts[next[p.first]] = uint32(i)
			next[p.first]++
			continue
		}
		of := next[p.first:][:len(p.values)]
		for j, v := range p.values {
			e.parts[of[j]], e.values[of[j]] = uint32(i), v
			of[j]++
		}
	}
}

// grown returns a slice of a length, of reused memory if there is enough.
func grown[T any](s []T, n int) []T { return slices.Grow(s[:0], n)[:n] }

// addTiming adds the timing of a series that is in parts, if it is a regular one.
func (s *slab) addTiming(tail []part, parts []uint32) bool {
	for i, number := range parts {
		p := &tail[number]
		if p.histogram != nil || i > 0 && p.timestamp <= tail[parts[i-1]].timestamp {
			return false
		}
	}
	t := timing{min: tail[parts[0]].timestamp, max: tail[parts[len(parts)-1]].timestamp, lags: make([]byte, 0, len(parts))}
	for _, number := range parts {
		t.lags = appendLag(t.lags, &tail[number])
	}
	s.timings = append(s.timings, t)
	s.min, s.max = min(s.min, t.min), max(s.max, t.max)
	return true
}

// setTimes notes the timestamps of a series that is in parts.
func (e *encoder) setTimes(tail []part, parts []uint32) {
	e.times = e.times[:0]
	for _, number := range parts {
		e.times = append(e.times, tail[number].timestamp)
	}
}

// addIrregular adds a series that has histograms, or samples that are not in order.
func (s *slab) addIrregular(b *chunk.Builder, tail []part, parts []uint32, offset uint16) {
	for _, number := range parts {
		tail[number].addTo(b, offset)
	}
	chunks := b.Take()
	if len(chunks) == 0 {
		return // There were damaged histograms alone.
	}
	s.others = append(s.others, irregular{offset, chunks})
	for _, c := range chunks {
		s.samples += int64(c.Data.NumSamples())
		s.size += int64(chunkBytes + len(c.Data.Bytes()) + len(c.Lags))
		s.min, s.max = min(s.min, c.Min), max(s.max, c.Max)
	}
}
