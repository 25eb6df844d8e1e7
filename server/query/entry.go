package query

import (
	"sync"

	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/refset"
)

// entry is a step that is shared, with its bytes in each form that somebody wanted.
type entry struct {
	step
	shared *shared
	hold   *limit.Hold

	// Under the lock of shared.
	users   int
	evicted bool
	// chain in which references are valid; 0: none were given yet. began is how many had
	// been given when it began.
	chain, began uint64
	references   []uint64 // of the samples; 0: it has no labels

	mu      sync.Mutex
	encoded map[form][][]byte
}

// form is what the bytes of a step depend on besides the step.
type form struct {
	references bool
	// known says that the client has the references of the step before, forget that it
	// has to forget all that it has.
	known, forget bool
	// first says that no step was before, onChange that only what has changed is sent.
	first, onChange bool
}

// release gives back what at returned.
func (e *entry) release() {
	e.shared.mu.Lock()
	defer e.shared.mu.Unlock()
	e.users--
	e.releaseUnused()
}

// releaseUnused gives the memory back once nobody can come to the step. The caller holds
// the lock.
func (e *entry) releaseUnused() {
	if e.evicted && e.users == 0 {
		e.hold.Release()
	}
}

// encodings is how often a step is kept as bytes: by labels, by labels with references,
// and by references.
const encodings = 3

// bytes is about what the step takes in memory, in all forms.
func (e *entry) bytes() int64 { return (1 + encodings) * e.step.bytes() }

// referenced gives the samples their references, those of the step before where it had
// the series, and returns the chain. Most of a chain's references belong to series that
// are not gone.
func (e *entry) referenced() uint64 {
	s := e.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.chain != 0 {
		return e.chain
	}
	before := s.entries[e.time-s.key.step]
	if before == nil || before.chain == 0 || s.mostAreGone(before) {
		s.chains++
		e.chain, e.began, before = s.chains, s.references, nil
	} else {
		e.chain, e.began = before.chain, before.began
	}
	var prior *step
	if before != nil {
		prior = &before.step
	}
	e.references = make([]uint64, len(e.samples))
	for c := range changes(prior, &e.step) {
		switch {
		case c.now == nil || c.now.labels.IsEmpty():
		case c.before != nil:
			e.references[c.nowAt] = before.references[c.beforeAt]
		default:
			s.references++
			e.references[c.nowAt] = s.references
		}
	}
	return e.chain
}

// forgetSlack is how many references may belong to series that are gone, on top of as
// many as there are series.
const forgetSlack = 10000

// mostAreGone says that most references of a chain belong to series that are gone.
func (s *shared) mostAreGone(e *entry) bool {
	return s.references-e.began > uint64(forgetSlack+2*len(e.samples))
}

// envelopes returns the step in a form that may be shared. before is the step before, and
// known the same if it is shared. Nothing is said of a step of which nothing has changed,
// if nothing came late.
func (e *entry) envelopes(f form, before *step, known *entry) [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	all, ok := e.encoded[f]
	if !ok {
		all = e.encode(f, before, known, func(c change) bool { return f.known && c.before != nil })
		e.encoded[f] = all
	}
	return all
}

// personal is envelopes for one client, which was sent the labels of some series.
func (e *entry) personal(f form, before *step, known *entry, introduced *refset.Set) [][]byte {
	return e.encode(f, before, known, func(c change) bool {
		if c.now != nil {
			return introduced.Add(e.references[c.nowAt])
		}
		reference := known.references[c.beforeAt]
		had := introduced.Has(reference)
		introduced.Remove(reference)
		return had
	})
}

func (e *entry) encode(f form, before *step, known *entry, isKnown func(change) bool) [][]byte {
	if f.first {
		before = nil
	}
	out := newEncoder(f.forget)
	for c := range changes(before, &e.step) {
		switch {
		case c.now == nil:
			reference := uint64(0)
			if f.references && known != nil && known.chain != 0 {
				reference = known.references[c.beforeAt]
			}
			out.openKnown(&c.before.labels, reference, reference != 0 && isKnown(c), false)
			out.gone(e.time)
		case f.onChange && c.before != nil && c.before.same(c.now):
			continue
		default:
			reference := uint64(0)
			if f.references {
				reference = e.references[c.nowAt]
			}
			out.openKnown(&c.now.labels, reference, reference != 0 && isKnown(c), true)
			out.point(e.time, c.now)
		}
		out.close()
	}
	if f.onChange && !f.first && out.empty() && e.late == 0 {
		return nil
	}
	out.notes(e.notes)
	return out.upTo(e.cursor(), e.time)
}

func (e *entry) cursor() string {
	return cursor.Query{Query: e.shared.hash, Evaluated: e.time}.String()
}
