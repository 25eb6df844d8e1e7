package replica

import (
	"iter"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/refset"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/postings"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/window"
)

// Snapshot is the latest samples of the live series of one log that are selected, as
// of one block.
type Snapshot struct {
	past         *head.Head // what the view is of; nil: the present state
	View         *head.View
	from         uint64            // the lowest ref
	matches      *postings.Matches // nil: all series
	refs         []uint64          // by the ids of matches
	writtenSince int64
	omitted      refset.Set
}

// Bytes is about what it takes in memory besides the head's.
func (s *Snapshot) Bytes() int64 {
	n := s.View.Pinned() + s.matches.Bytes() + s.omitted.Bytes()
	if s.past != nil {
		n += s.past.Bytes()
	}
	return n
}

// Series yields the live series by ascending ref. A pointer is valid until the next
// one.
func (s *Snapshot) Series() iter.Seq2[uint64, *segment.Latest] {
	return func(yield func(uint64, *segment.Latest) bool) {
		for ref, l := range s.written() {
			if !ended(l) && !yield(ref, l) {
				return
			}
		}
	}
}

// written also yields those that have ended.
func (s *Snapshot) written() iter.Seq2[uint64, *segment.Latest] {
	return func(yield func(uint64, *segment.Latest) bool) {
		pass := func(ref uint64, l *segment.Latest) bool {
			if !written(l, s.writtenSince) || s.omitted.Has(ref) {
				return true
			}
			return yield(ref, l)
		}
		if s.matches == nil {
			s.View.Each(s.from, pass)
			return
		}
		for id := range s.matches.Each {
			ref := s.refs[id]
			if ref < s.from {
				continue
			}
			// The index may have series that the head has dropped.
			if l, ok := s.View.Latest(ref); ok && !pass(ref, &l) {
				return
			}
		}
	}
}

// state is the series of a log as of some block.
type state struct {
	Head  *head.Head
	index *postings.Index
	// Window has the recent samples of the series; nil: none.
	Window *window.Window
}

// newState returns the state of a log before its first block.
func newState(w *window.Window) state {
	x := postings.NewIndex()
	h := head.NewObserved(observer{x, w})
	x.Labels(h.Label)
	return state{h, x, w}
}

// BetweenBlocks calls f while no block is being applied.
func (st state) BetweenBlocks(f func()) {
	st.index.RLock()
	defer st.index.RUnlock()
	f()
}

// Snapshot returns the live series that are selected, as of the last block. Its view
// has to be released.
func (st state) Snapshot(e *selection.Evaluation, sel *selection.Selection, writtenSince int64) (*Snapshot, error) {
	return st.snapshot(e, sel, writtenSince, func() {})
}

// snapshot calls also as of the same block.
func (st state) snapshot(e *selection.Evaluation, sel *selection.Selection, writtenSince int64, also func()) (*Snapshot, error) {
	if sel.Scans {
		// It need not hold a view while it waits for its turn.
		if err := e.Step(0); err != nil {
			return nil, err
		}
	}
	s := &Snapshot{writtenSince: writtenSince}
	var index *postings.View
	st.BetweenBlocks(func() {
		s.View, index = st.Head.View(), st.index.View()
		also()
	})
	if sel.All() {
		return s, nil
	}
	e.Read(s.View)
	defer e.Read(nil)
	var err error
	s.refs = index.Refs()
	if s.matches, err = postings.Find(e, index, sel); err != nil {
		s.View.Release()
		return nil, err
	}
	return s, nil
}

// SnapshotOf returns the same of a past state, from a ref on.
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
