package head

import (
	"fmt"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// ApplyKeyframe applies one chunk of a keyframe. Chunks come in order of their
// references; after the one marked Last the head holds exactly the keyframe's series
// and metadata. A head at the same sequence keeps its samples as they are, so its
// readers only notice what the keyframe leaves out.
func (h *Head) ApplyKeyframe(k *segment.Keyframe) error {
	err := h.applyKeyframe(k)
	h.notify()
	return err
}

func (h *Head) applyKeyframe(k *segment.Keyframe) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.labels.startTable(len(k.Series.Labels))
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
		h.keyframeMetadata[m.Family] = m
	}
	elect(h.keyframeElections, k.Elections)
	if !k.Placement.None() {
		h.keyframePlacement = k.Placement
	}
	if k.Last {
		h.dropRange(h.keyframeNext, h.nextRef)
		h.compact()
		h.metadata, h.elections, h.placement = h.keyframeMetadata, h.keyframeElections, h.keyframePlacement
		h.electionChanges.Add(1)
		h.metadataChanged()
		h.RestartKeyframe()
		h.sequence = k.Sequence
		h.nextRef = max(h.nextRef, k.NextRef)
		if invariant.On {
			h.pages.checkLive()
		}
	}
	return nil
}

// RestartKeyframe forgets the chunks of a keyframe that was cut off: the next chunk is
// the first of one. Only the applying goroutine may call it.
func (h *Head) RestartKeyframe() {
	h.keyframeNext, h.keyframeMetadata = 1, map[string]segment.Metadata{}
	h.keyframeElections, h.keyframePlacement = map[Cluster]segment.Election{}, segment.Placement{}
}

// Keyframe yields the state as a keyframe, in chunks of bounded size, without the
// series and the metadata that Expire marked, and without what does not fit into a
// frame. After yield returned for the last chunk, the head drops those too. Chunks are
// valid during the call of yield. Only the applying goroutine may call it.
func (h *Head) Keyframe(yield func(*segment.Keyframe) error) error {
	c := newChunks(h, yield)
	var expired []uint64
	for ref, s := range h.pages.all() {
		l := s.latest()
		if l.Written < h.expireBefore || h.tooLarge(s.labels(), &l) {
			expired = append(expired, ref)
			continue
		}
		if err := c.addSeries(ref, s.labels(), &l); err != nil {
			return err
		}
	}
	kept, forgotten := h.keptMetadata(c.table.named)
	for _, m := range kept {
		if err := c.addMetadata(m); err != nil {
			return err
		}
	}
	for _, e := range h.Elections() {
		if err := c.addElection(e); err != nil {
			return err
		}
	}
	if err := c.last(h.placement); err != nil {
		return err
	}
	h.expireBefore, h.keepFamily = 0, nil
	h.drop(expired, forgotten)
	h.notify()
	return nil
}

// Expire marks what the next keyframe leaves out: series that were last written before
// a time (in ms), unless they are written until then, and the metadata that keep, which
// is called then, does not want. Only the applying goroutine may call it.
func (h *Head) Expire(idleBefore int64, keep KeepFamily) {
	h.expireBefore, h.keepFamily = idleBefore, keep
}

func (h *Head) drop(refs []uint64, families []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, family := range families {
		delete(h.metadata, family)
	}
	h.metadataChanged()
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
	h.dead++
	if h.observer != nil {
		h.dropped = append(h.dropped, ref)
	}
}

// compact gives up the memory of dropped series: pages shrink, and once most rows of
// the label store belong to dropped series, the others move to a new store, where
// labels have other numbers. The caller holds the lock.
func (h *Head) compact() {
	h.pages.shrink()
	if h.dead <= h.pages.live {
		return
	}
	h.dead, h.renumbered = 0, true
	h.added, h.numbers = h.added[:0], h.numbers[:0]
	old := h.labels
	h.labels = newLabelStore(old.generation + 1)
	h.labels.startTable(len(old.wires))
	for i, pg := range h.pages.list {
		if pg != nil {
			number := h.pages.first + uint64(i)
			h.moveLabels(h.pages.own(number), number*pageSize, &old)
		}
	}
}

// moveLabels moves the rows of a page, whose references start at base, here from an old
// store.
func (h *Head) moveLabels(pg *page, base uint64, old *labelStore) {
	var numbers []uint32
	rows, first := pg.rows, true
	for index := range pg.length() {
		if pg.kind[index] == kindAbsent {
			continue
		}
		numbers = old.appendNumbers(numbers[:0], rows+labelsAt(pg.labels[index]))
		for i, n := range numbers {
			numbers[i] = h.labels.renumber(old, n)
		}
		pg.setLabels(index, h.addLabels(base+uint64(pg.offset(index)), numbers), first)
		first = false
	}
}
