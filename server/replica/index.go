package replica

import (
	"sync"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// seriesIndex finds series by their labels, with Prometheus' own matchers and
// operations on postings lists. The lists themselves are kept by the numbers
// that the head gives to labels, so that a new series costs no lookup of a
// string. It is told of series by the head that it observes.
//
// Series that the head dropped stay in the lists until the head gives labels
// other numbers, so a caller must expect references that it does not have.
type seriesIndex struct {
	// mu is held while a block is applied, so that head and index are read as of
	// one block. Nobody evaluates anything under it: who matches takes a view.
	mu    sync.RWMutex
	label func(number uint32) segment.Label

	refs   []uint64                // ascending; a series is known by its place here
	lists  []placeList             // by label number
	row    []uint32                // label numbers of the series that was added last
	values map[string]*labelValues // by label name
}

// placeList holds the places of the series that have a label, as runs: series
// that were created together have most of their labels in common.
type placeList struct {
	runs []placeRun
	// A run begins at open-1, and goes on as far as there are series; 0 is none.
	open uint32
	// in is one more than the place of the last series that was seen to have the
	// label where the one before it had another.
	in uint32
}

// placeRun is from one place up to, not including, another.
type placeRun struct{ from, to uint32 }

// labelValues are those of one label name.
type labelValues struct {
	all    []labelValue
	number map[string]uint32
}

type labelValue struct {
	text   string
	number uint32
}

// newSeriesIndex returns an index and the head that it observes.
func newSeriesIndex() (*seriesIndex, *head.Head) {
	x := &seriesIndex{values: make(map[string]*labelValues)}
	h := head.NewObserved(x)
	x.label = h.Label
	return x, h
}

// SeriesAdded implements [head.Observer]. Only the labels that the series does
// not share with the one before cost anything.
func (x *seriesIndex) SeriesAdded(ref uint64, numbers []uint32) {
	place := uint32(len(x.refs))
	x.refs = append(x.refs, ref)
	for i, n := range numbers {
		if i < len(x.row) && x.row[i] == n {
			continue
		}
		for n >= uint32(len(x.lists)) {
			x.labelAdded()
		}
		l := &x.lists[n]
		if l.in = place + 1; l.open == 0 {
			l.open = place + 1
		}
	}
	for i, n := range x.row {
		if l := &x.lists[n]; (i >= len(numbers) || numbers[i] != n) && l.in != place+1 {
			l.runs = append(l.runs, placeRun{l.open - 1, place})
			l.open = 0
		}
	}
	x.row = append(x.row[:0], numbers...)
}

// labelAdded takes up the label of the next number.
func (x *seriesIndex) labelAdded() {
	number := uint32(len(x.lists))
	x.lists = append(x.lists, placeList{})
	l := x.label(number)
	of := x.values[l.Name]
	if of == nil {
		of = &labelValues{number: make(map[string]uint32)}
		x.values[l.Name] = of
	}
	of.all = append(of.all, labelValue{l.Value, number})
	of.number[l.Value] = number
}

// SeriesDropped implements [head.Observer].
func (x *seriesIndex) SeriesDropped(uint64) {}

// Renumbered implements [head.Observer].
func (x *seriesIndex) Renumbered() {
	x.refs, x.lists, x.row, x.values = nil, nil, nil, make(map[string]*labelValues)
}
