package replica

import (
	"math/bits"
	"sort"

	"github.com/prometheus/prometheus/storage"
)

// Prometheus' set operations start before the first reference, which is 0; so an id
// is shown to them as the reference after it.
func refOf(id uint32) storage.SeriesRef { return storage.SeriesRef(id) + 1 }

func idOf(ref storage.SeriesRef) uint32 { return uint32(ref) - 1 }

// runPostings are runs as Prometheus' set operations read them.
type runPostings struct {
	rest []run // after the current one
	last run   // after these
	run  run   // the current one, from the next id on
	at   storage.SeriesRef
}

// nextRun moves to the next run, which is empty at the end.
func (p *runPostings) nextRun() {
	if len(p.rest) > 0 {
		p.run, p.rest = p.rest[0], p.rest[1:]
	} else {
		p.run, p.last = p.last, run{}
	}
}

// Next implements [index.Postings].
func (p *runPostings) Next() bool {
	if p.run.from == p.run.to {
		p.nextRun()
	}
	if p.run.from == p.run.to {
		return false
	}
	p.at = refOf(p.run.from)
	p.run.from++
	return true
}

// Seek implements [index.Postings].
func (p *runPostings) Seek(to storage.SeriesRef) bool {
	if p.at >= to {
		return true
	}
	id := idOf(to)
	if p.run.to <= id {
		// Most often it is near: double the step until it is passed, then halve.
		step := 1
		for step < len(p.rest) && p.rest[step-1].to <= id {
			step *= 2
		}
		from, end := step/2, min(step, len(p.rest))
		skip := from + sort.Search(end-from, func(i int) bool { return p.rest[from+i].to > id })
		p.rest = p.rest[skip:]
		p.nextRun()
		if p.run.to <= id { // none of rest
			p.nextRun()
		}
	}
	p.run.from = max(p.run.from, min(id, p.run.to))
	return p.Next()
}

// At implements [index.Postings].
func (p *runPostings) At() storage.SeriesRef { return p.at }

// Err implements [index.Postings].
func (p *runPostings) Err() error { return nil }

// idSet is a set of ids, a bit each.
type idSet []uint64

// newIDSet returns a set that has room for n ids.
func newIDSet(n int) idSet { return make(idSet, (n+63)/64) }

// idSetBytes is the size of a set that has room for n ids.
func idSetBytes(n int) int64 { return int64(n+63) / 64 * 8 }

func (s idSet) add(r run)    { s.change(r, func(word *uint64, mask uint64) { *word |= mask }) }
func (s idSet) remove(r run) { s.change(r, func(word *uint64, mask uint64) { *word &^= mask }) }

// change calls do for the words that a run touches, with the bits that are in it.
func (s idSet) change(r run, do func(word *uint64, mask uint64)) {
	for from := r.from; from < r.to; {
		word, end := from/64, min(r.to, (from/64+1)*64)
		mask := ^uint64(0) << (from % 64)
		if end%64 != 0 {
			mask &= 1<<(end%64) - 1
		}
		do(&s[word], mask)
		from = end
	}
}

// next returns the first id from one on that is in the set.
func (s idSet) next(from uint32) (id uint32, ok bool) {
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
	set idSet
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
