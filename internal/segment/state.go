package segment

import (
	"fmt"
	"math"
)

// UnknownRefError says that a block has a sample for a series that neither the
// keyframe nor an earlier block of the segment introduced.
type UnknownRefError struct{ Ref uint64 }

func (e *UnknownRefError) Error() string {
	return fmt.Sprintf("series reference %d is not known in this segment", e.Ref)
}

// state is what encoder and decoder both know after the same frames of a segment.
// Series are known by their ordinals, which count the series of the segment in the
// order in which it introduced them: so the columns are dense however sparse the
// references are, and a hostile segment can only make the decoder allocate for series
// that it spells out.
type state struct {
	refs   []uint64 // by ordinal, ascending
	bits   []uint64 // by ordinal: the previous value, 0 before the first
	next   uint64   // lowest reference that a new series may have
	seq    uint64   // last sequence
	prev   uint32   // checksum of the last frame
	keyed  bool     // the last chunk of the keyframe was there
	sealed bool     // the footer was there
	// Of all blocks, for the footer.
	minTime, maxTime                                     int64
	samples, histograms, exemplars, introduced, metadata uint64
}

func (s *state) startSegment(h *Header) {
	*s = state{
		refs: s.refs[:0], bits: s.bits[:0], next: 1,
		seq: h.FirstSequence - 1, prev: h.Checksum,
		minTime: noMinTime, maxTime: noMaxTime,
	}
}

// introduce gives a series the next ordinal. Its reference has been checked.
func (s *state) introduce(ref uint64) {
	s.refs = append(s.refs, ref)
	s.bits = append(s.bits, 0)
	s.next = ref + 1
}

// advance moves the state to after a frame.
func (s *state) advance(h *FrameHeader) {
	s.prev = h.Checksum
	switch h.Kind {
	case KindKeyframe:
		s.keyed = h.Flags&FlagLast != 0
	case KindBlock:
		s.seq = h.Sequence
		s.minTime = min(s.minTime, h.MinTime)
		s.maxTime = max(s.maxTime, h.MaxTime)
		s.samples += uint64(h.Samples)
		s.histograms += uint64(h.Histograms)
		s.exemplars += uint64(h.Exemplars)
		s.introduced += uint64(h.Series)
		s.metadata += uint64(h.Metadata)
	case KindFooter:
		s.sealed = true
	}
}

func (s *state) footer() FrameHeader {
	clamp := func(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }
	return FrameHeader{
		Kind: KindFooter, Sequence: s.seq, Prev: s.prev,
		MinTime: s.minTime, MaxTime: s.maxTime,
		Samples: clamp(s.samples), Histograms: clamp(s.histograms), Exemplars: clamp(s.exemplars),
		Series: clamp(s.introduced), Metadata: clamp(s.metadata),
	}
}

// checkNext returns an error unless the frame may come next.
func (s *state) checkNext(h *FrameHeader) error {
	want := s.seq
	if h.Kind == KindBlock {
		want++
	}
	switch {
	case s.sealed:
		return fmt.Errorf("%w: %s after the footer", ErrCorrupt, h.Kind)
	case s.keyed == (h.Kind == KindKeyframe):
		return fmt.Errorf("%w: %s out of place", ErrCorrupt, h.Kind)
	case h.Sequence != want:
		return fmt.Errorf("%w: %s with sequence %d, want %d", ErrCorrupt, h.Kind, h.Sequence, want)
	case h.Prev != s.prev:
		return fmt.Errorf("%w: %s does not continue the frame before it", ErrCorrupt, h.Kind)
	}
	return nil
}
