package stream

import "unsafe"

// deferred is what min_interval holds back of one log: the last sample of each series
// of the current interval, in the order in which the series came.
//
// An entry is found by its ref in a hash table with linear probing, which holds the
// numbers of entries. These lie in chunks, so that more of them move none.
type deferred struct {
	chunks [][]entry // full but for the last
	len    int
	table  []cell // a power of two
	rare   []rare
	data   int    // bytes of what rare holds
	after  uint64 // the last block before the interval
}

// cell is the number of an entry, and one; zero is empty, so a table of them is
// cleared without a loop.
type cell uint32

func cellOf(number uint32) cell { return cell(number + 1) }

func (c cell) empty() bool    { return c == 0 }
func (c cell) number() uint32 { return uint32(c) - 1 }

// entry is the last sample of a series.
type entry struct {
	ref              uint64
	timestamp, start int64
	value            float64
	samples          uint32 // that came in the interval
	rare             int32  // index of what few series have, or noRare
}

const noRare = -1

// rare is what few series have: a histogram, which is then the sample, and the last
// exemplar. Both are copies: those in a block would keep the whole block.
type rare struct {
	histogram, exemplar       []byte
	isHistogram, hasExemplars bool
}

// chunkEntries is how many entries a chunk has.
const chunkEntries = 1024

func (d *deferred) at(number uint32) *entry {
	return &d.chunks[number/chunkEntries][number%chunkEntries]
}

// find returns the entry of a series, which is made if there is none. It is valid
// until the next call.
func (d *deferred) find(ref uint64) *entry {
	if 4*d.len >= 3*len(d.table) {
		d.grow()
	}
	for i := d.home(ref); ; i = (i + 1) & (len(d.table) - 1) {
		switch c := d.table[i]; {
		case c.empty():
			d.table[i] = cellOf(uint32(d.len))
			return d.add(ref)
		case d.at(c.number()).ref == ref:
			return d.at(c.number())
		}
	}
}

// home is where the search for a ref starts.
func (d *deferred) home(ref uint64) int {
	return int(ref*0x9e3779b97f4a7c15>>32) & (len(d.table) - 1)
}

func (d *deferred) grow() {
	d.table = make([]cell, max(16, 2*len(d.table)))
	for number := range uint32(d.len) {
		i := d.home(d.at(number).ref)
		for !d.table[i].empty() {
			i = (i + 1) & (len(d.table) - 1)
		}
		d.table[i] = cellOf(number)
	}
}

func (d *deferred) add(ref uint64) *entry {
	last := d.len / chunkEntries
	if last == len(d.chunks) {
		d.chunks = append(d.chunks, nil)
	}
	chunk := d.chunks[last]
	if len(chunk) == cap(chunk) {
		size := chunkEntries
		if last == 0 { // There may never be more than a few.
			size = min(chunkEntries, max(8, 2*len(chunk)))
		}
		chunk = append(make([]entry, 0, size), chunk...)
	}
	d.chunks[last] = append(chunk, entry{ref: ref, rare: noRare})
	d.len++
	return d.at(uint32(d.len - 1))
}

// rareOf returns what few series have, nil if this one does not.
func (d *deferred) rareOf(e *entry) *rare {
	if e.rare == noRare {
		return nil
	}
	return &d.rare[e.rare]
}

func (d *deferred) makeRare(e *entry) *rare {
	if e.rare == noRare {
		e.rare = int32(len(d.rare))
		d.rare = append(d.rare, rare{})
	}
	return &d.rare[e.rare]
}

func (d *deferred) float(e *entry, timestamp, start int64, value float64) {
	e.timestamp, e.start, e.value = timestamp, start, value
	e.samples++
	if r := d.rareOf(e); r != nil {
		r.isHistogram = false
	}
}

func (d *deferred) histogram(e *entry, data []byte) {
	e.samples++
	r := d.makeRare(e)
	r.isHistogram, r.histogram = true, d.copied(r.histogram, data)
}

func (d *deferred) exemplar(e *entry, data []byte) {
	r := d.makeRare(e)
	r.hasExemplars, r.exemplar = true, d.copied(r.exemplar, data)
}

// copied returns a copy of data, in the memory of an old one if that is enough.
func (d *deferred) copied(old, data []byte) []byte {
	d.data -= cap(old)
	data = append(old[:0], data...)
	d.data += cap(data)
	return data
}

// clear starts an interval, with room for about as many series as the last one had.
func (d *deferred) clear() {
	d.chunks = d.chunks[:(d.len+chunkEntries-1)/chunkEntries]
	clear(d.chunks[len(d.chunks):cap(d.chunks)])
	for i := range d.chunks {
		d.chunks[i] = d.chunks[i][:0]
	}
	if 8*d.len < len(d.table) {
		d.table = nil
	}
	clear(d.table)
	d.len, d.rare, d.data = 0, nil, 0
}

// bytes is about what it takes in memory.
func (d *deferred) bytes() int64 {
	n := 4*len(d.table) + int(unsafe.Sizeof(rare{}))*cap(d.rare) + d.data
	if last := len(d.chunks) - 1; last >= 0 {
		n += int(unsafe.Sizeof(entry{})) * (chunkEntries*last + cap(d.chunks[last]))
	}
	return int64(n)
}
