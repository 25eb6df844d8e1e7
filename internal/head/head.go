// Package head holds the state of a log at one position: every series with
// its labels and latest sample, the metadata of metric families, who is elected of HA
// pairs, and the placement. It is what a keyframe captures, so a head can be written as a keyframe, and
// rebuilt from one and the blocks that follow it.
//
// One goroutine applies keyframes and blocks; any number may read meanwhile.
// A reader sees a block whole or not at all. Two heads that were given the
// same log hold the same state, except for series and metadata that one of them
// dropped earlier: a head drops either only when a keyframe leaves it out.
//
// The head is in memory alone; what is durable is the log.
package head

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// Observer is told which series come and go, in the order in which they do.
// It is called by the goroutine that applies, without the head's lock.
type Observer interface {
	// SeriesAdded tells of a series by its label numbers, whose labels [Head.Label]
	// returns. Numbers grow from 0 without holes. The slice is valid during the call.
	SeriesAdded(ref uint64, labels []uint32)
	// SeriesDropped says that the series is no longer in the head.
	SeriesDropped(ref uint64)
	// Renumbered says that all label numbers are void. Every series is added once
	// more, with new ones.
	Renumbered()
}

// Head is the state of a log at one position.
type Head struct {
	observer Observer // may be nil

	mu       sync.RWMutex
	sequence uint64 // the state is as of this block
	nextRef  uint64
	highest  uint64 // reference of a series that was added
	pages    pages
	labels   labelStore
	metadata map[string]segment.Metadata
	// metadataChange counts the changes of metadata. listed is what Metadata returned
	// since the last change, nil if nobody asked.
	metadataChange uint64
	listed         atomic.Pointer[listedMetadata]
	elections      map[Cluster]segment.Election
	// electionChanges counts the changes of elections.
	electionChanges atomic.Uint64
	placement       segment.Placement

	// keyframeNext is the first reference that the chunks of the keyframe under way
	// have not covered, the others the metadata, elections and placement that they had.
	keyframeNext      uint64
	keyframeMetadata  map[string]segment.Metadata
	keyframeElections map[Cluster]segment.Election
	keyframePlacement segment.Placement
	// expireBefore is the oldest Latest.Written, in milliseconds, that the
	// next keyframe keeps. Zero keeps all.
	expireBefore int64
	keepFamily   KeepFamily // nil keeps all

	dead       int  // series in the label store that were dropped
	renumbered bool // the label store is new, and the observer has not been told

	// What the observer is to be told, by the applying goroutine alone.
	added   []addedSeries
	numbers []uint32 // of the labels of added
	dropped []uint64
}

// addedSeries has its label numbers in numbers, from the end of the series before up to
// its own.
type addedSeries struct {
	ref uint64
	end int
}

// New returns an empty head: no series, at sequence 0.
func New() *Head { return NewObserved(nil) }

// NewObserved returns an empty head that tells o of series that come and go.
func NewObserved(o Observer) *Head {
	h := &Head{observer: o, nextRef: 1, labels: newLabelStore(0), metadata: map[string]segment.Metadata{}, elections: map[Cluster]segment.Election{}}
	h.RestartKeyframe()
	return h
}

// ApplyBlock moves the state on by one block. A block that refers to a series
// that the head does not know, or introduces a reference twice, is an error, after
// which the head must not be used any more.
func (h *Head) ApplyBlock(b *segment.Block) error {
	err := h.applyBlock(b)
	h.notify()
	return err
}

func (h *Head) applyBlock(b *segment.Block) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.labels.startTable(len(b.Series.Labels))
	for i, ref := range b.Series.Refs {
		if err := h.add(ref, &b.Series, i, b.Time); err != nil {
			return fmt.Errorf("apply block %d: %w", b.Sequence, err)
		}
	}
	for part, histogram := range b.Parts() {
		var ref uint64
		var ok bool
		if histogram != nil {
			ref, ok = histogram.Ref, h.pages.setHistogram(histogram, b.Time)
		} else {
			ref, ok = h.pages.setFloats(part, b.Time)
		}
		if !ok {
			return fmt.Errorf("apply block %d: sample of series %d, which is not in the head", b.Sequence, ref)
		}
	}
	for _, m := range b.Metadata {
		h.metadata[m.Family] = m
	}
	if len(b.Metadata) > 0 {
		h.metadataChanged()
	}
	if len(b.Elections) > 0 {
		elect(h.elections, b.Elections)
		h.electionChanges.Add(1)
	}
	if !b.Placement.None() {
		h.placement = b.Placement
	}
	h.sequence = b.Sequence
	return nil
}

// add adds the i-th series of a table, which is new in the log. The caller holds the
// lock.
func (h *Head) add(ref uint64, t *segment.SeriesTable, i int, written int64) error {
	if ref < h.nextRef {
		return fmt.Errorf("series %d comes after reference %d", ref, h.nextRef-1)
	}
	at, err := h.insert(ref, t, i)
	if err != nil {
		return err
	}
	at.page.written[at.index] = written
	h.nextRef = ref + 1
	return nil
}

// insert adds the i-th series of a table, whose reference is above those in the head.
func (h *Head) insert(ref uint64, t *segment.SeriesTable, i int) (seriesAt, error) {
	if ref <= h.highest {
		return seriesAt{}, fmt.Errorf("series %d comes after series %d", ref, h.highest)
	}
	at, err := h.pages.insert(ref)
	if err != nil {
		return at, err
	}
	h.highest = ref
	at.page.setLabels(at.index, h.addLabels(ref, h.labels.numbersOf(t, i)), at.page.live == 1)
	return at, nil
}

// addLabels stores the row of a series, for the observer too.
func (h *Head) addLabels(ref uint64, numbers []uint32) labelsAt {
	at := h.labels.add(numbers)
	if h.observer != nil {
		h.numbers = append(h.numbers, numbers...)
		h.added = append(h.added, addedSeries{ref, len(h.numbers)})
	}
	return at
}

// notify tells the observer what the last change added and dropped.
func (h *Head) notify() {
	if h.observer == nil {
		return
	}
	for _, ref := range h.dropped {
		h.observer.SeriesDropped(ref)
	}
	if h.renumbered {
		h.observer.Renumbered()
	}
	start := 0
	for _, s := range h.added {
		if invariant.On {
			h.checkNumbers(h.numbers[start:s.end])
		}
		h.observer.SeriesAdded(s.ref, h.numbers[start:s.end])
		start = s.end
	}
	h.renumbered = false
	h.added, h.numbers, h.dropped = h.added[:0], h.numbers[:0], h.dropped[:0]
	if cap(h.added) > keepTold {
		h.added, h.numbers = nil, nil
	}
	if cap(h.dropped) > keepTold {
		h.dropped = nil
	}
}

// keepTold is the size up to which buffers for the observer are kept.
const keepTold = 1 << 16

// Sequence returns the block that the state is as of.
func (h *Head) Sequence() uint64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.sequence
}

// NextRef returns the reference that the next new series gets.
func (h *Head) NextRef() uint64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.nextRef
}

// Placement returns which group the log is of, and its newest placement.
func (h *Head) Placement() segment.Placement {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.placement
}

// Len returns how many series the head holds, stale ones included.
func (h *Head) Len() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.pages.live
}

// Bytes returns about what the series of the head take in memory.
func (h *Head) Bytes() int64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	n := h.labels.bytes + int64(numberSize*len(h.labels.wires)+pointerSize*len(h.pages.list))
	for _, pg := range h.pages.list {
		if pg != nil {
			n += pg.bytes()
		}
	}
	return n
}

// HasAny reports whether the head may have a series from one reference up to, not
// including, another. It looks at whole pages only.
func (h *Head) HasAny(from, to uint64) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for number := from / pageSize; number*pageSize < to; number++ {
		if h.pages.at(number) != nil {
			return true
		}
	}
	return false
}

// Latest returns the latest sample of a series, and whether the head has the series.
func (h *Head) Latest(ref uint64) (segment.Latest, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	at, ok := h.pages.find(ref)
	if !ok {
		return segment.Latest{}, false
	}
	return at.latest(), true
}

// Labels appends the labels of a series to buf, and reports whether the head has the
// series. The strings may be kept.
func (h *Head) Labels(ref uint64, buf segment.Labels) (segment.Labels, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	at, ok := h.pages.find(ref)
	if !ok {
		return buf, false
	}
	return h.labels.appendLabels(buf, at.labels()), true
}

// Label returns a label by its number. The strings may be kept.
func (h *Head) Label(number uint32) segment.Label {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return ParseLabel(h.labels.wires[number])
}

// AppendLabels appends the labels of a series to dst as fields of a TimeSeries
// message. It appends nothing for a series that the head does not have.
func (h *Head) AppendLabels(dst []byte, ref uint64) []byte {
	h.mu.RLock()
	defer h.mu.RUnlock()
	at, ok := h.pages.find(ref)
	if !ok {
		return dst
	}
	return h.labels.appendWire(dst, at.labels())
}

// Each calls yield for every series, refs ascending, until it returns false. The
// applying goroutine waits meanwhile. yield must neither call the head nor keep the
// pointer.
func (h *Head) Each(yield func(ref uint64, l *segment.Latest) bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var l segment.Latest
	for ref, at := range h.pages.all() {
		l = at.latest()
		if !yield(ref, &l) {
			return
		}
	}
}
