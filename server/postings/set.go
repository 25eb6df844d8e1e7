package postings

import (
	"math/bits"

	"github.com/prometheus/prometheus/storage"
)

// Set is a set of ids, a bit each.
type Set []uint64

// newSet returns a set that has room for n ids.
func newSet(n int) Set { return make(Set, (n+63)/64) }

// setBytes is the size of a set that has room for n ids.
func setBytes(n int) int64 { return int64(n+63) / 64 * 8 }

func (s Set) add(r Run)    { s.change(r, func(word *uint64, mask uint64) { *word |= mask }) }
func (s Set) remove(r Run) { s.change(r, func(word *uint64, mask uint64) { *word &^= mask }) }

// change calls do for the words that a run touches, with the bits that are in it.
func (s Set) change(r Run, do func(word *uint64, mask uint64)) {
	for from := r.From; from < r.To; {
		word, end := from/64, min(r.To, (from/64+1)*64)
		mask := ^uint64(0) << (from % 64)
		if end%64 != 0 {
			mask &= 1<<(end%64) - 1
		}
		do(&s[word], mask)
		from = end
	}
}

// next returns the first id from one on that is in the set.
func (s Set) next(from uint32) (id uint32, ok bool) {
	word := int(from / 64)
	if word >= len(s) {
		return 0, false
	}
	rest := s[word] & (^uint64(0) << (from % 64))
	for rest == 0 {
		if word++; word == len(s) {
			return 0, false
		}
		rest = s[word]
	}
	return uint32(word*64 + bits.TrailingZeros64(rest)), true
}

// setPostings are a set as Prometheus' set operations read it.
type setPostings struct {
	set Set
	at  storage.SeriesRef
}

// Next implements [index.Postings].
func (p *setPostings) Next() bool { return p.Seek(p.at + 1) }

// Seek implements [index.Postings].
func (p *setPostings) Seek(to storage.SeriesRef) bool {
	if p.at >= to {
		return true
	}
	id, ok := p.set.next(idOf(to))
	p.at = refOf(id)
	if !ok { // after all of them
		p.at = refOf(uint32(len(p.set) * 64))
	}
	return ok
}

// At implements [index.Postings].
func (p *setPostings) At() storage.SeriesRef { return p.at }

// Err implements [index.Postings].
func (p *setPostings) Err() error { return nil }
