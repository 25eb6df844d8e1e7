package window

import (
	"slices"

	"github.com/promgrpc/exporter/internal/segment"
)

// exemplars are the latest ones of a log. They are numbered as they come; a number's place
// in the ring is by modulo.
type exemplars struct {
	ring        []exemplar
	first, next uint64            // the numbers that there are
	newest      map[uint64]uint64 // by ref, the number of its latest one
}

// exemplar is one, with the number of the one before it of the series; its own: none.
type exemplar struct {
	ref    uint64
	before uint64
	time   int64 // of the block
	data   []byte
}

const (
	// mostExemplars is how many a log has at most.
	mostExemplars = 1 << 14
	// exemplarBytes is what one takes besides its data, with its share of the map.
	exemplarBytes = 48 + 40
)

func (e *exemplar) bytes() int64 { return exemplarBytes + int64(len(e.data)) }

func (x *exemplars) add(w *Window, e *segment.Exemplar, time int64) {
	if x.newest == nil {
		x.newest = map[uint64]uint64{}
	}
	if x.next-x.first == mostExemplars {
		x.dropFirst(w)
	}
	entry := exemplar{ref: e.Ref, before: x.next, time: time, data: e.Data}
	if before, ok := x.newest[e.Ref]; ok {
		entry.before = before
	}
	if place := int(x.next % mostExemplars); place == len(x.ring) {
		x.ring = append(x.ring, entry)
	} else {
		x.ring[place] = entry
	}
	w.count(entry.bytes(), 0)
	x.newest[e.Ref] = x.next
	x.next++
}

func (x *exemplars) dropFirst(w *Window) {
	e := &x.ring[x.first%mostExemplars]
	w.count(-e.bytes(), 0)
	if x.newest[e.ref] == x.first {
		delete(x.newest, e.ref)
	}
	*e = exemplar{}
	x.first++
}

// drop drops those of blocks before a time.
func (x *exemplars) drop(w *Window, oldest int64) {
	for x.first < x.next && x.ring[x.first%mostExemplars].time < oldest {
		x.dropFirst(w)
	}
}

// of returns those of a series, in order of arrival.
func (x *exemplars) of(ref uint64) [][]byte {
	number, ok := x.newest[ref]
	if !ok {
		return nil
	}
	var found [][]byte
	for number >= x.first {
		e := &x.ring[number%mostExemplars]
		found = append(found, e.data)
		if e.before == number {
			break
		}
		number = e.before
	}
	slices.Reverse(found)
	return found
}
