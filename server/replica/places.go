package replica

import (
	"math/bits"
	"sort"

	"github.com/prometheus/prometheus/storage"
)

// places is a list of the index as Prometheus' operations take it. What they
// take for references are places, and one.
type places struct {
	rest []placeRun // behind the run at hand
	last placeRun   // behind these
	run  placeRun   // what is left of it
	at   storage.SeriesRef
}

// next moves on to the next run, which is empty at the end.
func (p *places) next() {
	if len(p.rest) > 0 {
		p.run, p.rest = p.rest[0], p.rest[1:]
	} else {
		p.run, p.last = p.last, placeRun{}
	}
}

// Next implements [index.Postings].
func (p *places) Next() bool {
	if p.run.from == p.run.to {
		p.next()
	}
	if p.run.from == p.run.to {
		return false
	}
	p.run.from++
	p.at = storage.SeriesRef(p.run.from)
	return true
}

// Seek implements [index.Postings].
func (p *places) Seek(to storage.SeriesRef) bool {
	if p.at >= to {
		return true
	}
	place := uint32(to) - 1
	if p.run.to <= place {
		// Most often it is near: double the step until it is passed, then halve.
		step := 1
		for step < len(p.rest) && p.rest[step-1].to <= place {
			step *= 2
		}
		from, end := step/2, min(step, len(p.rest))
		skip := from + sort.Search(end-from, func(i int) bool { return p.rest[from+i].to > place })
		p.rest = p.rest[skip:]
		p.next()
		if p.run.to <= place { // there was none in rest
			p.next()
		}
	}
	p.run.from = max(p.run.from, min(place, p.run.to))
	return p.Next()
}

// At implements [index.Postings].
func (p *places) At() storage.SeriesRef { return p.at }

// Err implements [index.Postings].
func (p *places) Err() error { return nil }

// placeSet has a bit for each place of an index.
type placeSet []uint64

func (s placeSet) set(r placeRun)   { s.change(r, func(word *uint64, mask uint64) { *word |= mask }) }
func (s placeSet) unset(r placeRun) { s.change(r, func(word *uint64, mask uint64) { *word &^= mask }) }

// change calls do for the words that a run lies in, with the bits that are in it.
func (s placeSet) change(r placeRun, do func(word *uint64, mask uint64)) {
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

// next returns the first place from one on that is in the set.
func (s placeSet) next(from uint32) (place uint32, ok bool) {
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

// setPlaces is a set as Prometheus' operations take it, as [places] is.
type setPlaces struct {
	set placeSet
	at  storage.SeriesRef
}

// Next implements [index.Postings].
func (p *setPlaces) Next() bool { return p.Seek(p.at + 1) }

// Seek implements [index.Postings].
func (p *setPlaces) Seek(to storage.SeriesRef) bool {
	if p.at >= to {
		return true
	}
	place, ok := p.set.next(uint32(to) - 1)
	p.at = storage.SeriesRef(place) + 1
	if !ok { // behind all
		p.at = storage.SeriesRef(len(p.set)*64) + 1
	}
	return ok
}

// At implements [index.Postings].
func (p *setPlaces) At() storage.SeriesRef { return p.at }

// Err implements [index.Postings].
func (p *setPlaces) Err() error { return nil }
