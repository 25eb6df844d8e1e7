package server

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"github.com/cespare/xxhash/v2"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// snapshot is the latest samples of the live series of one log that are
// selected, as of one block.
type snapshot struct {
	view         *head.View
	from         uint64    // the lowest reference
	refs         []uint64  // ascending; the others are left out, unless it is nil
	selection    selection // of those
	writtenSince int64
	omitted      map[uint64]struct{}
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
			if _, omitted := s.omitted[ref]; omitted {
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

// snapshotAt takes the same as of an earlier block, from a reference on. It
// rebuilds the state as of that block from the files.
func (r *replica) snapshotAt(sequence, from uint64, sel selection, writtenSince int64) (*snapshot, error) {
	past := head.New()
	if err := r.log.Rebuild(sequence, past); err != nil {
		return nil, fmt.Errorf("take up the snapshot at block %d: %w", sequence, err)
	}
	return &snapshot{view: past.View(), from: from, selection: sel, writtenSince: writtenSince}, nil
}

func (s *snapshot) omit(ref uint64) {
	if s.omitted == nil {
		s.omitted = make(map[uint64]struct{})
	}
	s.omitted[ref] = struct{}{}
}

// keepNewest leaves out of each snapshot the series that another log has a
// newer sample of, or as new a one and comes first.
func keepNewest(snapshots []*snapshot) {
	if len(snapshots) < 2 {
		return
	}
	type place struct {
		of        *snapshot
		ref       uint64
		timestamp int64
	}
	seen := make(map[uint64]place)
	var mine, theirs []byte
	for _, s := range snapshots {
		for ref, l := range s.series() {
			mine = s.view.AppendLabels(mine[:0], ref)
			hash := xxhash.Sum64(mine)
			before, ok := seen[hash]
			if !ok {
				seen[hash] = place{s, ref, l.Timestamp}
				continue
			}
			theirs = before.of.view.AppendLabels(theirs[:0], before.ref)
			switch {
			case !bytes.Equal(mine, theirs): // Two label sets with one hash: both stay.
			case l.Timestamp > before.timestamp:
				before.of.omit(before.ref)
				seen[hash] = place{s, ref, l.Timestamp}
			default:
				s.omit(ref)
			}
		}
	}
}
