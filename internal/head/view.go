package head

import (
	"slices"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// View is the state of a head as of one block, and stays that while the head goes on.
// It is made in microseconds. While it is held, the first write to a page of 1024
// series copies that page, once a view.
//
// It is read without locks, also concurrently. It must not be read after
// Release.
type View struct {
	head     *Head
	sequence uint64
	pages    pages
	labels   labelStore
	passed   int     // pages at the low end that were released
	checked  checked // with invariants
}

// View returns the state as of the last block. The caller releases it.
func (h *Head) View() *View {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pages.views++
	h.pages.epoch++
	v := &View{head: h, sequence: h.sequence, pages: h.pages, labels: h.labels.frozen()}
	v.pages.list = slices.Clone(v.pages.list)
	if invariant.On {
		v.checked = v.pages.check()
	}
	return v
}

// Release ends the view. It may be called twice.
func (v *View) Release() {
	if v.head == nil {
		return
	}
	v.head.mu.Lock()
	defer v.head.mu.Unlock()
	if invariant.On {
		for i := v.passed; i < len(v.pages.list); i++ {
			v.checkUnchanged(i)
		}
		invariant.Check(v.head.pages.views > 0, "a view was released that was not held")
	}
	v.head.pages.views--
	v.head, v.pages, v.labels = nil, pages{}, labelStore{}
}

// Sequence returns the block that the view is as of.
func (v *View) Sequence() uint64 { return v.sequence }

// ReleaseBelow releases the pages of the series below a reference, which must not be
// read any more. It must not be called while the view is read elsewhere.
func (v *View) ReleaseBelow(ref uint64) {
	for v.passed < len(v.pages.list) && (v.pages.first+uint64(v.passed)+1)*pageSize <= ref {
		if invariant.On {
			v.checkUnchanged(v.passed)
		}
		v.pages.list[v.passed] = nil
		v.passed++
	}
}

// Pinned returns about how many bytes are in memory only for this view and others:
// what the head has replaced since.
func (v *View) Pinned() int64 {
	if v.head == nil {
		return 0
	}
	n := int64(pointerSize * len(v.pages.list))
	v.head.mu.RLock()
	defer v.head.mu.RUnlock()
	if v.head.labels.generation != v.labels.generation {
		n += v.labels.bytes
	}
	for i := v.passed; i < len(v.pages.list); i++ {
		if pg := v.pages.list[i]; pg != nil && pg != v.head.pages.at(v.pages.first+uint64(i)) {
			n += pg.bytes()
		}
	}
	return n
}

// Latest returns the latest sample of a series, and whether the view has the series.
func (v *View) Latest(ref uint64) (segment.Latest, bool) {
	at, ok := v.pages.find(ref)
	if !ok {
		return segment.Latest{}, false
	}
	return at.latest(), true
}

// Labels appends the labels of a series to buf, and reports whether the view has the
// series. The strings may be kept.
func (v *View) Labels(ref uint64, buf segment.Labels) (segment.Labels, bool) {
	at, ok := v.pages.find(ref)
	if !ok {
		return buf, false
	}
	return v.labels.appendLabels(buf, at.labels()), true
}

// AppendLabels appends the labels of a series to dst as fields of a TimeSeries
// message. It appends nothing for a series that the view does not have.
func (v *View) AppendLabels(dst []byte, ref uint64) []byte {
	at, ok := v.pages.find(ref)
	if !ok {
		return dst
	}
	return v.labels.appendWire(dst, at.labels())
}

// LabelNumbers appends the numbers of the labels of a series to dst, in the order of their
// names. Labels that are equal have one number. It appends nothing for a series that the
// view does not have.
func (v *View) LabelNumbers(dst []uint32, ref uint64) []uint32 {
	at, ok := v.pages.find(ref)
	if !ok {
		return dst
	}
	return v.labels.appendNumbers(dst, at.labels())
}

// LabelWires are the labels by their numbers, each as a field of a TimeSeries message. They
// may be kept.
func (v *View) LabelWires() []string { return v.labels.wires }

// Each calls yield for every series from a reference on, refs ascending, until it
// returns false. The pointer is valid during the call.
func (v *View) Each(from uint64, yield func(ref uint64, l *segment.Latest) bool) {
	var l segment.Latest
	for ref, at := range v.pages.from(from) {
		l = at.latest()
		if !yield(ref, &l) {
			return
		}
	}
}
