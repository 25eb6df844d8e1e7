package stream

import "unsafe"

// window holds the last sample of each series of one log since the window before,
// in order of the first sample of each.
type window struct {
	chunks [][]entry // full but for the last
	len    int
	table  []uint32 // places of entries by the hash of their reference; 0: none, otherwise it is one more
	rare   []rare
	data   int    // bytes of what rare holds
	after  uint64 // the last block before it
}

// entry is the last sample of a series in a window.
type entry struct {
	ref              uint64
	timestamp, start int64
	value            float64
	samples          uint32 // that there were
	rare             uint32 // place of what few series have; 0: none, otherwise it is one more
}

// rare is what few series have: a histogram, which stands for the sample, and the
// last exemplar. Both are copies: those in a block would keep all of the block.
type rare struct {
	histogram, exemplar       []byte
	isHistogram, hasExemplars bool
}

// chunkEntries is how many entries a chunk has.
const chunkEntries = 1024

func (w *window) at(place uint32) *entry { return &w.chunks[place/chunkEntries][place%chunkEntries] }

// find returns the entry of a series, which is made if there is none. It is valid
// until the next call.
func (w *window) find(ref uint64) *entry {
	if 4*w.len >= 3*len(w.table) {
		w.grow()
	}
	for slot := w.slot(ref); ; slot = (slot + 1) & (len(w.table) - 1) {
		switch place := w.table[slot]; {
		case place == 0:
			w.table[slot] = uint32(w.len + 1)
			return w.add(ref)
		case w.at(place-1).ref == ref:
			return w.at(place - 1)
		}
	}
}

// slot is where the search for a reference begins.
func (w *window) slot(ref uint64) int {
	return int(ref*0x9e3779b97f4a7c15>>32) & (len(w.table) - 1)
}

func (w *window) grow() {
	w.table = make([]uint32, max(16, 2*len(w.table)))
	for place := range uint32(w.len) {
		slot := w.slot(w.at(place).ref)
		for w.table[slot] != 0 {
			slot = (slot + 1) & (len(w.table) - 1)
		}
		w.table[slot] = place + 1
	}
}

func (w *window) add(ref uint64) *entry {
	last := w.len / chunkEntries
	if last == len(w.chunks) {
		w.chunks = append(w.chunks, nil)
	}
	chunk := w.chunks[last]
	if len(chunk) == cap(chunk) {
		size := chunkEntries
		if last == 0 { // There may never be more than a few.
			size = min(chunkEntries, max(8, 2*len(chunk)))
		}
		chunk = append(make([]entry, 0, size), chunk...)
	}
	w.chunks[last] = append(chunk, entry{ref: ref})
	w.len++
	return w.at(uint32(w.len - 1))
}

// rareOf returns what few series have, nil if this one does not.
func (w *window) rareOf(e *entry) *rare {
	if e.rare == 0 {
		return nil
	}
	return &w.rare[e.rare-1]
}

func (w *window) makeRare(e *entry) *rare {
	if e.rare == 0 {
		w.rare = append(w.rare, rare{})
		e.rare = uint32(len(w.rare))
	}
	return &w.rare[e.rare-1]
}

func (w *window) float(e *entry, timestamp, start int64, value float64) {
	e.timestamp, e.start, e.value = timestamp, start, value
	e.samples++
	if r := w.rareOf(e); r != nil {
		r.isHistogram = false
	}
}

func (w *window) histogram(e *entry, data []byte) {
	e.samples++
	r := w.makeRare(e)
	r.isHistogram, r.histogram = true, w.copied(r.histogram, data)
}

func (w *window) exemplar(e *entry, data []byte) {
	r := w.makeRare(e)
	r.hasExemplars, r.exemplar = true, w.copied(r.exemplar, data)
}

// copied returns a copy of data, in place of another one.
func (w *window) copied(old, data []byte) []byte {
	w.data -= cap(old)
	data = append(old[:0], data...)
	w.data += cap(data)
	return data
}

// clear begins a window, for about as many series as the one before had.
func (w *window) clear() {
	w.chunks = w.chunks[:(w.len+chunkEntries-1)/chunkEntries]
	clear(w.chunks[len(w.chunks):cap(w.chunks)])
	for i := range w.chunks {
		w.chunks[i] = w.chunks[i][:0]
	}
	if 8*w.len < len(w.table) {
		w.table = nil
	}
	clear(w.table)
	w.len, w.rare, w.data = 0, nil, 0
}

// bytes is about what it takes in memory.
func (w *window) bytes() int64 {
	n := 4*len(w.table) + int(unsafe.Sizeof(rare{}))*cap(w.rare) + w.data
	if last := len(w.chunks) - 1; last >= 0 {
		n += int(unsafe.Sizeof(entry{})) * (chunkEntries*last + cap(w.chunks[last]))
	}
	return int64(n)
}
