package postings

import (
	"math"
	"sync"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// Index finds series by their labels. It is told of series and of the numbers of their
// labels, as a head tells its observer.
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
// stay until the labels are renumbered, and then the index starts over. So a caller has
// to expect refs that are gone.
type Index struct {
	// RWMutex is write-locked while a block is applied, so that what is told of series
	// and the index are read as of the same block. Nothing is matched under it: a reader
	// takes a view.
	sync.RWMutex
	label func(number uint32) segment.Label

	refs     []uint64           // ascending, by id
	postings []postings         // by label number
	row      []uint32           // label numbers of the last series
	values   map[string]*values // by label name
}

// postings are the ids of the series that have a label.
type postings struct {
	closed []Run
	open   uint32 // where the open run starts; none if there is none
	// joined is the last series that has the label where the one before it has another;
	// none if there is none.
	joined uint32
}

// none is no id: there is no room for as many series.
const none = math.MaxUint32

// Run is the ids from one up to, but not including, another.
type Run struct{ From, To uint32 }

// values are those of one label name.
type values struct {
	all    []Value
	number map[string]uint32
}

// NewIndex returns an empty index. It has to be told what returns a label by its number
// before the first series.
func NewIndex() *Index { return &Index{values: make(map[string]*values)} }

// Labels says what returns a label by its number.
func (x *Index) Labels(label func(number uint32) segment.Label) { x.label = label }

// SeriesAdded tells of a series by its label numbers, which grow from 0 without holes.
// Refs ascend. The caller holds the lock.
func (x *Index) SeriesAdded(ref uint64, numbers []uint32) {
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
			invariant.Check(p.open < id && (last < 0 || p.closed[last].To <= p.open), "run [%d %d) comes after %v", p.open, id, p.closed)
		}
		p.closed = append(p.closed, Run{p.open, id})
		p.open = none
	}
	x.row = append(x.row[:0], numbers...)
}

// addLabel adds the label with the next number.
func (x *Index) addLabel() {
	number := uint32(len(x.postings))
	x.postings = append(x.postings, postings{open: none, joined: none})
	l := x.label(number)
	of := x.values[l.Name]
	if of == nil {
		of = &values{number: make(map[string]uint32)}
		x.values[l.Name] = of
	}
	of.all = append(of.all, Value{l.Value, number})
	of.number[l.Value] = number
}

// SeriesDropped says that a series is gone, which changes nothing.
func (x *Index) SeriesDropped(uint64) {}

// Renumbered says that all label numbers are void: every series is added once more. The
// caller holds the lock.
func (x *Index) Renumbered() {
	x.refs, x.postings, x.row, x.values = nil, nil, nil, make(map[string]*values)
}
