package server

import (
	"iter"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/refset"
	"github.com/promgrpc/exporter/internal/segment"
)

// snapshot is the latest samples of the live series of one log that are
// selected, as of one block.
type snapshot struct {
	past         *head.Head // that the view is of, nil: the present one
	view         *head.View
	from         uint64 // the lowest reference
	found        *found // the others are left out, unless it is nil
	writtenSince int64
	omitted      refset.Set
}

// bytes is about what it takes in memory besides the head's.
func (s *snapshot) bytes() int64 {
	n := s.view.Pinned() + s.found.bytes() + s.omitted.Bytes()
	if s.past != nil {
		n += s.past.Bytes()
	}
	return n
}

// series yields the live series by ascending reference. The pointers are valid
// until the next.
func (s *snapshot) series() iter.Seq2[uint64, *segment.Latest] {
	return func(yield func(uint64, *segment.Latest) bool) {
		for ref, l := range s.written() {
			if !ended(l) && !yield(ref, l) {
				return
			}
		}
	}
}

// written yields those that have ended, too.
func (s *snapshot) written() iter.Seq2[uint64, *segment.Latest] {
	return func(yield func(uint64, *segment.Latest) bool) {
		pass := func(ref uint64, l *segment.Latest) bool {
			if !written(l, s.writtenSince) || s.omitted.Has(ref) {
				return true
			}
			return yield(ref, l)
		}
		if s.found == nil {
			s.view.Each(s.from, pass)
			return
		}
		for ref := range s.found.each {
			if ref < s.from {
				continue
			}
			// The lists may have series that the head has dropped.
			if l, ok := s.view.Latest(ref); ok && !pass(ref, &l) {
				return
			}
		}
	}
}

// state is what a log has come to, as of some block.
type state struct {
	head  *head.Head
	index *seriesIndex
}

// newState returns the state of a log before its first block.
func newState() state {
	x, h := newSeriesIndex()
	return state{h, x}
}

// betweenBlocks calls f while no block is being applied.
func (st state) betweenBlocks(f func()) {
	st.index.mu.RLock()
	defer st.index.mu.RUnlock()
	f()
}

// snapshot takes the live series that are selected, as of the last block. Its
// view is to be released.
func (st state) snapshot(e *evaluation, sel *selection, writtenSince int64) (*snapshot, error) {
	if sel.scans {
		// Who waits for the turn need not hold a view meanwhile.
		if err := e.step(0); err != nil {
			return nil, err
		}
	}
	s, index := &snapshot{writtenSince: writtenSince}, indexView{}
	st.betweenBlocks(func() { s.view, index = st.head.View(), st.index.view() })
	if sel.all() {
		return s, nil
	}
	e.read(s.view)
	defer e.read(nil)
	var err error
	if s.found, err = index.find(e, sel); err != nil {
		s.view.Release()
		return nil, err
	}
	return s, nil
}

// snapshotOf takes the same of a state of the past, from a reference on.
func snapshotOf(e *evaluation, past *head.Head, from uint64, sel *selection, writtenSince int64) (*snapshot, error) {
	s := &snapshot{past: past, view: past.View(), from: from, writtenSince: writtenSince}
	if sel.all() {
		return s, nil
	}
	defer e.pause()
	var labels segment.Labels
	var err error
	s.view.Each(from, func(ref uint64, _ *segment.Latest) bool {
		labels, _ = s.view.Labels(ref, labels[:0])
		if err = e.stepSeries(sel, labels); err == nil && !sel.matches(labels) {
			s.omitted.Add(ref)
		}
		return err == nil
	})
	return s, err
}
