package replica

import (
	"math"
	"sync"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// seriesIndex finds series by their labels. The head that it observes tells it of
// series and of the numbers of their labels.
//
// Series are numbered as they come: an id is an index into refs. The postings of a
// label, which are the ids of the series that have it, are runs, since series that
// are created together share most of their labels. Each series is compared with the
// one before it, and only the labels that differ cost anything: one that is gone
// closes its run, one that is new opens a run. A run that stays open grows by itself.
//
//	id    series                   postings after id 4
//	 0    up    job=a  pod=1       up     [0 4)         pod=1  [0 1) [2 3)
//	 1    up    job=a  pod=2       load   [4 ...        pod=2  [1 2) [3 4)
//	 2    up    job=b  pod=1       job=a  [0 2)
//	 3    up    job=b  pod=2       job=b  [2 ...
//	 4    load  job=b
//
// Postings are found by label number, so that a new series looks up no string; a
// number is found by name and value. Nothing is removed: the ids of dropped series
// stay until the head renumbers the labels, and then the index starts over. So a
// caller has to expect refs that the head does not have.
type seriesIndex struct {
	// mu is write-locked while a block is applied, so that head and index are read as of
	// the same block. Nothing is matched under it: a reader takes a view.
	mu    sync.RWMutex
	label func(number uint32) segment.Label

	refs     []uint64                // ascending, by id
	postings []postings              // by label number
	row      []uint32                // label numbers of the last series
	values   map[string]*labelValues // by label name
}

// postings are the ids of the series that have a label.
type postings struct {
	closed []run
	open   uint32 // where the open run starts; none if there is none
	// joined is the last series that has the label where the one before it has another;
	// none if there is none.
	joined uint32
}

// none is no id: there is no room for as many series.
const none = math.MaxUint32

// run is the ids from one up to, but not including, another.
type run struct{ from, to uint32 }

// labelValues are the values of one label name.
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

// SeriesAdded implements [head.Observer].
func (x *seriesIndex) SeriesAdded(ref uint64, numbers []uint32) {
	id := uint32(len(x.refs))
	if invariant.On && id > 0 {
		invariant.Check(x.refs[id-1] < ref, "ref %d is indexed after ref %d", ref, x.refs[id-1])
	}
	x.refs = append(x.refs, ref)
	for i, n := range numbers {
		if i < len(x.row) && x.row[i] == n {
			continue
		}
		for n >= uint32(len(x.postings)) {
			x.addLabel()
		}
		p := &x.postings[n]
		if p.joined = id; p.open == none {
			p.open = id
		}
	}
	for i, n := range x.row {
		p := &x.postings[n]
		if stays := i < len(numbers) && numbers[i] == n; stays || p.joined == id {
			continue
		}
		if invariant.On {
			last := len(p.closed) - 1
			invariant.Check(p.open < id && (last < 0 || p.closed[last].to <= p.open), "run [%d %d) comes after %v", p.open, id, p.closed)
		}
		p.closed = append(p.closed, run{p.open, id})
		p.open = none
	}
	x.row = append(x.row[:0], numbers...)
}

// addLabel adds the label with the next number.
func (x *seriesIndex) addLabel() {
	number := uint32(len(x.postings))
	x.postings = append(x.postings, postings{open: none, joined: none})
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
	x.refs, x.postings, x.row, x.values = nil, nil, nil, make(map[string]*labelValues)
}
