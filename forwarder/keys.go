package forwarder

import (
	"math/bits"
	"slices"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/invariant"
)

// keyTable finds slots by keys, of which it keeps 96 bits: two of ten million series
// share those with a probability of 10⁻¹⁵. A lookup is one cache line as a rule; a key
// takes 21 to 27 bytes. The table is in 256 parts that grow one by one, so that growing
// delays no request for long.
//
// The zero value is empty. No key has slot 0.
type keyTable struct {
	parts   [256]keyPart
	n       int
	fetched uint32 // keeps the compiler from removing fetch
}

// leastCells is how many a part has once it has any.
const leastCells = 8

// keyPart is cells with linear probing, of which three quarters are in use at most. Where a
// search begins is proportional to the hash, so there may be any number of cells, and a
// part grows by an eighth at a time, or as much more as the allocator gives anyway.
type keyPart struct {
	cells []keyCell
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

// fetch loads the cells of keys into the processor's cache, so that their misses
// overlap rather than come one after another.
func (t *keyTable) fetch(keys []remotewrite.Key) {
	for _, k := range keys {
		if p := t.part(k); len(p.cells) > 0 {
			t.fetched += p.cells[p.home(k.A)].slot
		}
	}
}

// put sets the slot of a key.
func (t *keyTable) put(k remotewrite.Key, slot uint32) {
	p := t.part(k)
	if p.n >= len(p.cells)*3/4 {
		p.resize(roomFor(p.n + 1))
	}
	c := p.cell(k.A, uint32(k.B))
	if c.slot == 0 {
		p.n++
		t.n++
	}
	*c = keyCell{k.A, uint32(k.B), slot}
	if invariant.On {
		invariant.Check(slot != 0 && p.n < len(p.cells), "%d keys in %d cells, slot %d: a search may not end", p.n, len(p.cells), slot)
	}
}

// roomFor is how many cells a part gets for so many keys, at least: two thirds are in use.
func roomFor(keys int) int { return max(leastCells, keys*3/2) }

// move maps the slots of all keys by to. Keys whose slot becomes 0 are removed, and their
// memory is given up.
func (t *keyTable) move(to func(slot uint32) uint32) {
	t.n = 0
	for i := range t.parts {
		p := &t.parts[i]
		left := 0
		for j := range p.cells {
			if c := &p.cells[j]; c.slot != 0 {
				if c.slot = to(c.slot); c.slot != 0 {
					left++
				}
			}
		}
		if len(p.cells) > 0 {
			p.resize(roomFor(left))
		}
		t.n += p.n
	}
}

// home returns the index of the cell where the search for a key begins.
func (p *keyPart) home(a uint64) uint64 {
	at, _ := bits.Mul64(a, uint64(len(p.cells)))
	return at
}

// cell returns the cell of a key, or the empty one where it would go.
func (p *keyPart) cell(a uint64, b uint32) *keyCell {
	for i := p.home(a); ; i++ {
		if i == uint64(len(p.cells)) {
			i = 0
		}
		c := &p.cells[i]
		if c.slot == 0 || c.a == a && c.b == b {
			return c
		}
	}
}

// resize moves the keys to so many new cells, and those that the allocator adds.
func (p *keyPart) resize(cells int) {
	old := p.cells
	fresh := slices.Grow([]keyCell(nil), cells)
	p.cells, p.n = fresh[:cap(fresh)], 0
	clear(p.cells)
	for i := range old {
		if c := &old[i]; c.slot != 0 {
			*p.cell(c.a, c.b) = *c
			p.n++
		}
	}
}
