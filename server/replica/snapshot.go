package replica

import (
	"iter"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/refset"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/selection"
)

// Snapshot is the latest samples of the live series of one log that are
// selected, as of one block.
type Snapshot struct {
	past         *head.Head // that the view is of, nil: the present one
	View         *head.View
	from         uint64 // the lowest reference
	found        *found // the others are left out, unless it is nil
	writtenSince int64
	omitted      refset.Set
}

// Bytes is about what it takes in memory besides the head's.
func (s *Snapshot) Bytes() int64 {
	n := s.View.Pinned() + s.found.bytes() + s.omitted.Bytes()
	if s.past != nil {
		n += s.past.Bytes()
	}
	return n
}

// Series yields the live series by ascending reference. The pointers are valid
// until the next.
func (s *Snapshot) Series() iter.Seq2[uint64, *segment.Latest] {
	return func(yield func(uint64, *segment.Latest) bool) {
		for ref, l := range s.written() {
			if !ended(l) && !yield(ref, l) {
				return
			}
		}
	}
}

// written yields those that have ended, too.
func (s *Snapshot) written() iter.Seq2[uint64, *segment.Latest] {
	return func(yield func(uint64, *segment.Latest) bool) {
		pass := func(ref uint64, l *segment.Latest) bool {
			if !written(l, s.writtenSince) || s.omitted.Has(ref) {
				return true
			}
			return yield(ref, l)
		}
		if s.found == nil {
			s.View.Each(s.from, pass)
			return
		}
		for ref := range s.found.each {
			if ref < s.from {
				continue
			}
			// The lists may have series that the head has dropped.
			if l, ok := s.View.Latest(ref); ok && !pass(ref, &l) {
				return
			}
		}
	}
}

// state is what a log has come to, as of some block.
type state struct {
	Head  *head.Head
	index *seriesIndex
}

// newState returns the state of a log before its first block.
func newState() state {
	x, h := newSeriesIndex()
	return state{h, x}
}

// BetweenBlocks calls f while no block is being applied.
func (st state) BetweenBlocks(f func()) {
	st.index.mu.RLock()
	defer st.index.mu.RUnlock()
	f()
}

// Snapshot takes the live series that are selected, as of the last block. Its
// view is to be released.
func (st state) Snapshot(e *selection.Evaluation, sel *selection.Selection, writtenSince int64) (*Snapshot, error) {
	if sel.Scans {
		// Who waits for the turn need not hold a view meanwhile.
		if err := e.Step(0); err != nil {
			return nil, err
		}
	}
	s, index := &Snapshot{writtenSince: writtenSince}, indexView{}
	st.BetweenBlocks(func() { s.View, index = st.Head.View(), st.index.view() })
	if sel.All() {
		return s, nil
	}
	e.Read(s.View)
	defer e.Read(nil)
	var err error
	if s.found, err = index.find(e, sel); err != nil {
		s.View.Release()
		return nil, err
	}
	return s, nil
}

// SnapshotOf takes the same of a state of the past, from a reference on.
func SnapshotOf(e *selection.Evaluation, past *head.Head, from uint64, sel *selection.Selection, writtenSince int64) (*Snapshot, error) {
	s := &Snapshot{past: past, View: past.View(), from: from, writtenSince: writtenSince}
	if sel.All() {
		return s, nil
	}
	defer e.Pause()
	var labels segment.Labels
	var err error
	s.View.Each(from, func(ref uint64, _ *segment.Latest) bool {
		labels, _ = s.View.Labels(ref, labels[:0])
		if err = e.StepSeries(sel, labels); err == nil && !sel.Matches(labels) {
			s.omitted.Add(ref)
		}
		return err == nil
	})
	return s, err
}
