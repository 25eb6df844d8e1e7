package server

import (
	"context"
	"iter"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// snapshot is the latest samples of the live series of one log that are
// selected, as of one block.
type snapshot struct {
	past         *head.Head // that the view is of, nil: the present one
	view         *head.View
	from         uint64    // the lowest reference
	refs         []uint64  // ascending; the others are left out, unless it is nil
	selection    selection // of those
	writtenSince int64
	omitted      refSet
}

// bytes is about what it takes in memory besides the head's.
func (s *snapshot) bytes() int64 {
	n := s.view.Pinned() + int64(8*cap(s.refs)) + s.omitted.bytes()
	if s.past != nil {
		n += s.past.Bytes()
	}
	return n
}

// series yields the series by ascending reference. The pointers are valid
// until the next.
func (s *snapshot) series() iter.Seq2[uint64, *segment.Latest] {
	return func(yield func(uint64, *segment.Latest) bool) {
		var labels segment.Labels
		pass := func(ref uint64, l *segment.Latest) bool {
			if !live(l, s.writtenSince) {
				return true
			}
			if s.omitted.has(ref) {
				return true
			}
			if len(s.selection) > 0 {
				if labels, _ = s.view.Labels(ref, labels[:0]); !s.selection.matches(labels) {
					return true
				}
			}
			return yield(ref, l)
		}
		if s.refs == nil {
			s.view.Each(s.from, pass)
			return
		}
		for _, ref := range s.refs {
			// The lists may have series that the head has dropped.
			if l, ok := s.view.Latest(ref); ok && !pass(ref, &l) {
				return
			}
		}
	}
}

// snapshot takes the live series that are selected, as of the last block. Its
// view is to be released.
func (r *replica) snapshot(ctx context.Context, sel selection, writtenSince int64) (*snapshot, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := &snapshot{writtenSince: writtenSince}
	if len(sel) > 0 {
		var err error
		if s.refs, err = r.index.find(ctx, sel); err != nil {
			return nil, err
		}
	}
	s.view = r.head.View()
	return s, nil
}

// snapshotOf takes the same of a state of the past, from a reference on.
func snapshotOf(past *head.Head, from uint64, sel selection, writtenSince int64) *snapshot {
	return &snapshot{past: past, view: past.View(), from: from, selection: sel, writtenSince: writtenSince}
}
