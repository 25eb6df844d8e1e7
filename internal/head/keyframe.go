package head

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/promgrpc/exporter/internal/segment"
)

// keyframeChunk is how many series go into one chunk of a keyframe.
const keyframeChunk = 16384

// ApplyKeyframe takes over one chunk of a keyframe. Chunks come in order of
// their references; the one marked Last completes the keyframe, and then the
// head holds exactly the keyframe's series. A head at the same sequence keeps
// its samples as they are throughout, so its readers notice nothing but the
// series that the keyframe leaves out.
func (h *Head) ApplyKeyframe(k *segment.Keyframe) error {
	err := h.applyKeyframe(k)
	h.notify()
	return err
}

func (h *Head) applyKeyframe(k *segment.Keyframe) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.labels.begin(len(k.Series.Labels))
	if k.Series.Len() != len(k.Latest) {
		return fmt.Errorf("apply keyframe at %d: %d series with %d latest samples", k.Sequence, k.Series.Len(), len(k.Latest))
	}
	if k.Sequence < h.sequence {
		return fmt.Errorf("apply keyframe at %d: the head is at %d already", k.Sequence, h.sequence)
	}
	for i, ref := range k.Series.Refs {
		if ref < h.keyframeNext || ref >= k.NextRef {
			return fmt.Errorf("apply keyframe at %d: reference %d is not between %d and %d", k.Sequence, ref, h.keyframeNext, k.NextRef)
		}
		h.dropRange(h.keyframeNext, ref)
		s, ok := h.pages.mutable(ref)
		if !ok {
			var err error
			if s, err = h.insert(ref, &k.Series, i); err != nil {
				return fmt.Errorf("apply keyframe at %d: %w", k.Sequence, err)
			}
		}
		s.restore(&k.Latest[i])
		h.keyframeNext = ref + 1
	}
	for _, m := range k.Metadata {
		h.metadata[m.Family] = m
	}
	if k.Last {
		h.dropRange(h.keyframeNext, h.nextRef)
		h.compact()
		h.keyframeNext = 1
		h.sequence = k.Sequence
		h.nextRef = max(h.nextRef, k.NextRef)
	}
	return nil
}

// RestartKeyframe forgets how far a keyframe that was cut off had come: the
// next chunk is the first of one. It belongs to the applying goroutine.
func (h *Head) RestartKeyframe() { h.keyframeNext = 1 }

// Keyframe yields the state as a keyframe, in chunks of bounded size, without
// the series that Expire marked. When yield has taken the last chunk, those
// are dropped from the head too. Chunks are valid during the call of yield.
//
// It belongs to the applying goroutine.
func (h *Head) Keyframe(yield func(*segment.Keyframe) error) error {
	k := &segment.Keyframe{Sequence: h.sequence, NextRef: h.nextRef, Metadata: h.Metadata()}
	places := newPlaceTable(&h.labels, &k.Series)
	flush := func() error {
		err := yield(k)
		places.reset()
		k.Latest, k.Metadata = k.Latest[:0], nil
		return err
	}
	var expired []uint64
	for ref, s := range h.pages.all() {
		l := s.latest()
		if l.Written < h.expireBefore {
			expired = append(expired, ref)
			continue
		}
		if k.Series.Len() == keyframeChunk {
			if err := flush(); err != nil {
				return err
			}
		}
		places.add(ref, s.labels())
		k.Latest = append(k.Latest, l)
	}
	k.Last = true
	if err := flush(); err != nil {
		return err
	}
	h.expireBefore = 0
	h.drop(expired)
	h.notify()
	return nil
}

// Expire marks the series not written since the given time (milliseconds
// since the Unix epoch) for being left out of the next keyframe, and returns
// how many these are now. A series that is written before the keyframe stays.
func (h *Head) Expire(idleBefore int64) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expireBefore = idleBefore
	n := 0
	for _, s := range h.pages.all() {
		if s.page.written[s.index] < idleBefore {
			n++
		}
	}
	return n
}

// Metadata returns what is known of metric families, sorted by name.
func (h *Head) Metadata() []segment.Metadata {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.SortedFunc(maps.Values(h.metadata), func(a, b segment.Metadata) int {
		return cmp.Compare(a.Family, b.Family)
	})
}

func (h *Head) drop(refs []uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, ref := range refs {
		h.remove(ref)
	}
	h.compact()
}

// dropRange drops the series from one reference up to, not including, another.
func (h *Head) dropRange(from, to uint64) {
	if from >= to {
		return
	}
	var refs []uint64
	for ref := range h.pages.from(from) {
		if ref >= to {
			break
		}
		refs = append(refs, ref)
	}
	for _, ref := range refs {
		h.remove(ref)
	}
}

func (h *Head) remove(ref uint64) {
	h.pages.remove(ref)
	h.gone++
	if h.observer != nil {
		h.dropped = append(h.dropped, ref)
	}
}

// compact stores the labels anew once most of them belong to dropped series.
// The caller holds the lock.
func (h *Head) compact() {
	if h.gone <= h.pages.live {
		return
	}
	h.gone, h.renumbered = 0, true
	h.added, h.numbers = h.added[:0], h.numbers[:0]
	old := h.labels
	h.labels = newLabelStore(old.generation + 1)
	h.labels.begin(len(old.wires))
	var numbers []uint32
	for ref, s := range h.pages.all() {
		numbers = old.appendNumbers(numbers[:0], s.labels())
		for i, n := range numbers {
			numbers[i] = h.labels.renumber(&old, n)
		}
		s, _ = h.pages.mutable(ref)
		s.page.labels[s.index] = h.addLabels(ref, numbers)
	}
}
