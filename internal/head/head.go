// Package head holds the state of a log at one position: every series with
// its labels and latest sample, and the metadata of metric families. It is
// what a keyframe captures, so a head can be written as a keyframe, and
// rebuilt from one and the blocks that follow it.
//
// One goroutine applies keyframes and blocks; any number may read meanwhile.
// A reader sees a block whole or not at all. Two heads that were given the
// same log hold the same state, except for series that one of them dropped
// earlier: a head drops a series only when a keyframe leaves it out.
//
// The head is in memory alone; what is durable is the log.
package head

import (
	"fmt"
	"sync"

	"github.com/promgrpc/exporter/internal/segment"
)

// Observer is told which series come and go, in the order in which they do.
// It is called by the goroutine that applies, without the head's lock.
type Observer interface {
	// SeriesAdded hands over a series' labels. They must not be changed, and
	// the slice is valid only during the call; the strings may be kept.
	SeriesAdded(ref uint64, ls segment.Labels)
	// SeriesDropped says that the series is no longer in the head.
	SeriesDropped(ref uint64)
}

// Option changes how New makes a head.
type Option func(*Head)

// WithObserver has o told of series that come and go.
func WithObserver(o Observer) Option { return func(h *Head) { h.observer = o } }

// Head is the state of a log at one position.
type Head struct {
	observer Observer

	mu       sync.RWMutex
	sequence uint64 // the state is as of this block
	nextRef  uint64
	pages    pages
	labels   labelStore
	metadata map[string]segment.Metadata

	// keyframeNext is the first reference that the chunks of the keyframe
	// under way have not covered.
	keyframeNext uint64
	// expireBefore is the oldest Latest.Written, in milliseconds, that the
	// next keyframe keeps. Zero keeps all.
	expireBefore int64

	gone int // series dropped since the labels were stored anew

	// The applying goroutine's own buffers.
	added   []uint64
	dropped []uint64
}

// New returns an empty head: no series, at sequence 0.
func New(options ...Option) *Head {
	h := &Head{nextRef: 1, keyframeNext: 1, labels: newLabelStore(), metadata: map[string]segment.Metadata{}}
	for _, o := range options {
		o(h)
	}
	return h
}

// ApplyBlock moves the state on by one block. A block that refers to a series
// that the head does not know, or gives a reference twice, is an error, after
// which the head must not be used any more.
func (h *Head) ApplyBlock(b *segment.Block) error {
	h.added = h.added[:0]
	err := h.applyBlock(b)
	h.notify()
	return err
}

func (h *Head) applyBlock(b *segment.Block) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range b.Series {
		if err := h.add(b.Series[i], b.Time); err != nil {
			return fmt.Errorf("apply block %d: %w", b.Sequence, err)
		}
	}
	if ref, ok := h.pages.setFloats(&b.Samples, b.Time); !ok {
		return fmt.Errorf("apply block %d: sample of series %d, which is not in the head", b.Sequence, ref)
	}
	for i := range b.Histograms {
		slot, ok := h.pages.mutable(b.Histograms[i].Ref)
		if !ok {
			return fmt.Errorf("apply block %d: histogram of series %d, which is not in the head", b.Sequence, b.Histograms[i].Ref)
		}
		slot.setHistogram(b.Histograms[i].Timestamp, b.Histograms[i].Data, b.Time)
	}
	for _, m := range b.Metadata {
		h.metadata[m.Family] = m
	}
	h.sequence = b.Sequence
	return nil
}

// add gives a new series its place. The caller holds the lock.
func (h *Head) add(s segment.Series, written int64) error {
	if s.Ref < h.nextRef {
		return fmt.Errorf("series %d comes after reference %d was given", s.Ref, h.nextRef-1)
	}
	slot, err := h.insert(s)
	if err != nil {
		return err
	}
	slot.page.written[slot.index] = written
	h.nextRef = s.Ref + 1
	return nil
}

func (h *Head) insert(s segment.Series) (slot, error) {
	slot, err := h.pages.insert(s.Ref)
	if err != nil {
		return slot, err
	}
	slot.page.labels[slot.index] = h.labels.add(s.Labels)
	if h.observer != nil {
		h.added = append(h.added, s.Ref)
	}
	return slot, nil
}

// notify tells the observer what the last change added and dropped.
func (h *Head) notify() {
	if h.observer == nil {
		return
	}
	for _, ref := range h.dropped {
		h.observer.SeriesDropped(ref)
	}
	h.dropped = h.dropped[:0]
	var buf segment.Labels
	for _, ref := range h.added {
		// The labels of the store are the ones that may be kept: those of
		// the block can lie in a buffer that is used again.
		if ls, ok := h.Labels(ref, buf[:0]); ok {
			h.observer.SeriesAdded(ref, ls)
			buf = ls
		}
	}
	h.added = h.added[:0]
}

// Sequence returns the block that the state is as of.
func (h *Head) Sequence() uint64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.sequence
}

// NextRef returns the reference that the next new series is to be given.
func (h *Head) NextRef() uint64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.nextRef
}

// Len returns how many series the head holds, stale ones included.
func (h *Head) Len() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.pages.live
}

// Latest returns the latest sample of a series, and whether the head has the
// series at all.
func (h *Head) Latest(ref uint64) (segment.Latest, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	slot, ok := h.pages.slot(ref)
	if !ok {
		return segment.Latest{}, false
	}
	return slot.latest(), true
}

// Labels appends the labels of a series to buf, and says whether the head has
// the series. The strings may be kept.
func (h *Head) Labels(ref uint64, buf segment.Labels) (segment.Labels, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	slot, ok := h.pages.slot(ref)
	if !ok {
		return buf, false
	}
	return h.labels.appendLabels(buf, slot.labels()), true
}

// AppendLabels appends the labels of a series to dst as they stand in a
// TimeSeries message: one field 1 a label. It appends nothing for a series
// that the head does not have.
func (h *Head) AppendLabels(dst []byte, ref uint64) []byte {
	h.mu.RLock()
	defer h.mu.RUnlock()
	slot, ok := h.pages.slot(ref)
	if !ok {
		return dst
	}
	return h.labels.appendWire(dst, slot.labels())
}

// Each calls yield for every series by ascending reference until it returns
// false. It keeps the applying goroutine waiting while it runs; yield must not
// call the head, nor keep the pointer.
func (h *Head) Each(yield func(ref uint64, l *segment.Latest) bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var l segment.Latest
	for ref, slot := range h.pages.all() {
		l = slot.latest()
		if !yield(ref, &l) {
			return
		}
	}
}
