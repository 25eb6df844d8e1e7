package server

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// snapshot is the latest samples of series of one log, as of one block. It is
// kept as columns, because it may be held for as long as a slow client takes.
type snapshot struct {
	sequence   uint64
	refs       []uint64 // ascending; 0: left out
	timestamps []int64
	values     []float64
	starts     map[int]int64  // by index; few series have one
	histograms map[int][]byte // by index
	labels     labelSource
}

func (s *snapshot) add(ref uint64, l *segment.Latest) {
	i := len(s.refs)
	s.refs = append(s.refs, ref)
	s.timestamps = append(s.timestamps, l.Timestamp)
	s.values = append(s.values, l.Value)
	if l.StartTimestamp != 0 {
		if s.starts == nil {
			s.starts = make(map[int]int64)
		}
		s.starts[i] = l.StartTimestamp
	}
	if l.Histogram != nil {
		if s.histograms == nil {
			s.histograms = make(map[int][]byte)
		}
		s.histograms[i] = l.Histogram
	}
}

// snapshot takes the live series that are selected, as of the last block.
func (r *replica) snapshot(ctx context.Context, sel selection, writtenSince int64) (*snapshot, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	refs, err := r.postings.find(ctx, sel)
	if err != nil {
		return nil, err
	}
	s := &snapshot{
		refs:       make([]uint64, 0, len(refs)),
		timestamps: make([]int64, 0, len(refs)),
		values:     make([]float64, 0, len(refs)),
		labels:     r.head,
	}
	s.sequence, err = r.view(ctx, refs, func(ref uint64, l *segment.Latest) {
		if live(l, writtenSince) {
			s.add(ref, l)
		}
	})
	return s, err
}

// snapshotAt takes the same as of an earlier block, from a reference on. It
// rebuilds the state as of that block from the files.
func (r *replica) snapshotAt(sequence, from uint64, sel selection, writtenSince int64) (*snapshot, error) {
	past := head.New()
	if err := r.log.Rebuild(sequence, past); err != nil {
		return nil, fmt.Errorf("take up the snapshot at block %d: %w", sequence, err)
	}
	all := &snapshot{sequence: sequence, labels: past}
	past.Each(func(ref uint64, l *segment.Latest) bool {
		if ref >= from && live(l, writtenSince) {
			all.add(ref, l)
		}
		return true
	})
	var ls segment.Labels
	for i, ref := range all.refs {
		ls, _ = past.Labels(ref, ls[:0])
		if !sel.matches(ls) {
			all.refs[i] = 0
		}
	}
	return all, nil
}

// keepNewest leaves out of each snapshot the series that another log has a
// newer sample of, or as new a one and comes first.
func keepNewest(snapshots []*snapshot) {
	if len(snapshots) < 2 {
		return
	}
	type place struct {
		of *snapshot
		i  int
	}
	seen := make(map[uint64]place)
	var mine, theirs []byte
	for _, s := range snapshots {
		for i, ref := range s.refs {
			mine = s.labels.AppendLabels(mine[:0], ref)
			hash := xxhash.Sum64(mine)
			before, ok := seen[hash]
			if !ok {
				seen[hash] = place{s, i}
				continue
			}
			theirs = before.of.labels.AppendLabels(theirs[:0], before.of.refs[before.i])
			switch {
			case !bytes.Equal(mine, theirs): // Two label sets with one hash: both stay.
			case s.timestamps[i] > before.of.timestamps[before.i]:
				before.of.refs[before.i] = 0
				seen[hash] = place{s, i}
			default:
				s.refs[i] = 0
			}
		}
	}
}
