package forwarder

import "github.com/promgrpc/exporter/forwarder/remotewrite"

// keyTable finds slots by keys, of which it keeps 96 bits: that two of ten
// million series share those is as likely as one in 10¹⁵. A lookup is one cache
// line as a rule, of a table that takes 21 to 43 bytes a key. Parts of it grow
// each by itself, so that none of them keeps a request waiting for long.
//
// The zero value is empty. Slot 0 is that of no key.
type keyTable struct {
	parts   [256]keyPart
	n       int
	fetched uint32 // keeps the compiler from leaving fetch out
}

type keyPart struct {
	cells []keyCell // a power of two of them, or none; linear probing
	n     int
}

type keyCell struct {
	a    uint64
	b    uint32
	slot uint32 // 0 is empty
}

func (t *keyTable) part(k remotewrite.Key) *keyPart { return &t.parts[k.B>>56] }

// get returns the slot of a key, or 0.
func (t *keyTable) get(k remotewrite.Key) uint32 {
	p := t.part(k)
	if len(p.cells) == 0 {
		return 0
	}
	return p.cell(k.A, uint32(k.B)).slot
}

// fetch brings the cells of keys near, all at once: who asks for one after another
// waits for the memory each time.
func (t *keyTable) fetch(keys []remotewrite.Key) {
	for _, k := range keys {
		if p := t.part(k); len(p.cells) > 0 {
			t.fetched += p.cells[k.A&uint64(len(p.cells)-1)].slot
		}
	}
}

// put sets the slot of a key.
func (t *keyTable) put(k remotewrite.Key, slot uint32) {
	p := t.part(k)
	if p.n >= len(p.cells)*3/4 {
		p.resize(max(8, 2*len(p.cells)), nil)
	}
	c := p.cell(k.A, uint32(k.B))
	if c.slot == 0 {
		p.n++
		t.n++
	}
	*c = keyCell{k.A, uint32(k.B), slot}
}

// remove forgets all keys of the slots that gone names.
func (t *keyTable) remove(gone func(slot uint32) bool) {
	t.n = 0
	for i := range t.parts {
		p := &t.parts[i]
		p.resize(len(p.cells), gone)
		t.n += p.n
	}
}

// cell returns the cell of a key, or the empty one where it belongs.
func (p *keyPart) cell(a uint64, b uint32) *keyCell {
	mask := uint64(len(p.cells) - 1)
	for i := a & mask; ; i = (i + 1) & mask {
		c := &p.cells[i]
		if c.slot == 0 || c.a == a && c.b == b {
			return c
		}
	}
}

// resize puts the keys of slots that are not gone into so many new cells.
func (p *keyPart) resize(cells int, gone func(slot uint32) bool) {
	old := p.cells
	p.cells, p.n = make([]keyCell, cells), 0
	for i := range old {
		c := &old[i]
		if c.slot != 0 && (gone == nil || !gone(c.slot)) {
			*p.cell(c.a, c.b) = *c
			p.n++
		}
	}
}
