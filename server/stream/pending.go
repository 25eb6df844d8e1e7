package stream

import "unsafe"

// pending is what min_interval holds back of one log: the last sample of each series
// of the current interval, in the order in which the series came.
//
// An entry is found by its ref in a hash table with linear probing, which holds the
// numbers of entries. These lie in chunks, so that more of them move none.
type pending struct {
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

func (p *pending) at(number uint32) *entry {
	return &p.chunks[number/chunkEntries][number%chunkEntries]
}

// find returns the entry of a series, which is made if there is none. It is valid
// until the next call.
func (p *pending) find(ref uint64) *entry {
	if 4*p.len >= 3*len(p.table) {
		p.grow()
	}
	for i := p.home(ref); ; i = (i + 1) & (len(p.table) - 1) {
		switch c := p.table[i]; {
		case c.empty():
			p.table[i] = cellOf(uint32(p.len))
			return p.add(ref)
		case p.at(c.number()).ref == ref:
			return p.at(c.number())
		}
	}
}

// home is where the search for a ref starts.
func (p *pending) home(ref uint64) int {
	return int(ref*0x9e3779b97f4a7c15>>32) & (len(p.table) - 1)
}

func (p *pending) grow() {
	p.table = make([]cell, max(16, 2*len(p.table)))
	for number := range uint32(p.len) {
		i := p.home(p.at(number).ref)
		for !p.table[i].empty() {
			i = (i + 1) & (len(p.table) - 1)
		}
		p.table[i] = cellOf(number)
	}
}

func (p *pending) add(ref uint64) *entry {
	last := p.len / chunkEntries
	if last == len(p.chunks) {
		p.chunks = append(p.chunks, nil)
	}
	chunk := p.chunks[last]
	if len(chunk) == cap(chunk) {
		size := chunkEntries
		if last == 0 { // There may never be more than a few.
			size = min(chunkEntries, max(8, 2*len(chunk)))
		}
		chunk = append(make([]entry, 0, size), chunk...)
	}
	p.chunks[last] = append(chunk, entry{ref: ref, rare: noRare})
	p.len++
	return p.at(uint32(p.len - 1))
}

// rareOf returns what few series have, nil if this one does not.
func (p *pending) rareOf(e *entry) *rare {
	if e.rare == noRare {
		return nil
	}
	return &p.rare[e.rare]
}

func (p *pending) makeRare(e *entry) *rare {
	if e.rare == noRare {
		e.rare = int32(len(p.rare))
		p.rare = append(p.rare, rare{})
	}
	return &p.rare[e.rare]
}

func (p *pending) float(e *entry, timestamp, start int64, value float64) {
	e.timestamp, e.start, e.value = timestamp, start, value
	e.samples++
	if r := p.rareOf(e); r != nil {
		r.isHistogram = false
	}
}

func (p *pending) histogram(e *entry, data []byte) {
	e.samples++
	r := p.makeRare(e)
	r.isHistogram, r.histogram = true, p.copied(r.histogram, data)
}

func (p *pending) exemplar(e *entry, data []byte) {
	r := p.makeRare(e)
	r.hasExemplars, r.exemplar = true, p.copied(r.exemplar, data)
}

// copied returns a copy of data, in the memory of an old one if that is enough.
func (p *pending) copied(old, data []byte) []byte {
	p.data -= cap(old)
	data = append(old[:0], data...)
	p.data += cap(data)
	return data
}

// clear starts an interval, with room for about as many series as the last one had.
func (p *pending) clear() {
	p.chunks = p.chunks[:(p.len+chunkEntries-1)/chunkEntries]
	clear(p.chunks[len(p.chunks):cap(p.chunks)])
	for i := range p.chunks {
		p.chunks[i] = p.chunks[i][:0]
	}
	if 8*p.len < len(p.table) {
		p.table = nil
	}
	clear(p.table)
	p.len, p.rare, p.data = 0, nil, 0
}

// bytes is about what it takes in memory.
func (p *pending) bytes() int64 {
	n := 4*len(p.table) + int(unsafe.Sizeof(rare{}))*cap(p.rare) + p.data
	if last := len(p.chunks) - 1; last >= 0 {
		n += int(unsafe.Sizeof(entry{})) * (chunkEntries*last + cap(p.chunks[last]))
	}
	return int64(n)
}
