package head

import (
	"math"
	"slices"
	"unsafe"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// pageSize is how many references share a page.
const pageSize = 1024

// page holds the series of pageSize consecutive references as columns, which
// the garbage collector need not walk. The columns that few series need are
// made with the first value.
//
// A series is found by its offset, which is its reference modulo pageSize. In a dense
// page the offset is the index in the columns. A sparse page, for the few series that
// are left of a page or the first of one, has a column of offsets as well:
//
//	dense    index      0  1  2  3  …  1023      = offset
//	         value      a  b  –  d  …  –
//
//	sparse   index      0  1  2
//	         offsets    0  1  3                  ascending, searched
//	         value      a  b  d
//
// [page.shrunk] makes a dense page sparse, [page.grown] a sparse one larger or dense.
// References grow, so a new series has the highest offset of its page.
type page struct {
	epoch     uint64 // of the pages when it was made
	live      int
	offsets   []uint16 // ascending, by index; nil if the page is dense
	kind      []kind
	labels    []uint32 // how far the series' row is after rows
	rows      labelsAt // of the first series
	timestamp []int64
	value     []uint64 // the bits of the float
	written   []int64
	start     []int64
	histogram [][]byte
	data      int64 // bytes of the histograms
}

// columns of a dense page, made at once. They are of exactly a size in which Go hands out
// memory: with the column of kinds a fifth would be wasted.
type columns struct {
	labels    [pageSize]uint32
	timestamp [pageSize]int64
	value     [pageSize]uint64
	written   [pageSize]int64
}

const (
	// mostSparse is how many series a sparse page has at most. A dense page takes about
	// half a KiB for each of that many.
	mostSparse = 64
	// sparseStep is the capacity of the first sparse page, and the factor by which it grows.
	sparseStep = 4
)

// kind is what the latest sample of a series is.
type kind uint8

const (
	kindAbsent kind = iota // there is no such series
	kindNone
	kindFloat
	kindHistogram
)

func newDensePage() *page {
	c := new(columns)
	return &page{
		kind: make([]kind, pageSize), labels: c.labels[:], timestamp: c.timestamp[:], value: c.value[:], written: c.written[:],
	}
}

// newSparsePage makes an empty page with room for some series.
func newSparsePage(room int) *page {
	return &page{
		offsets: make([]uint16, 0, room), kind: make([]kind, room), labels: make([]uint32, room),
		timestamp: make([]int64, room), value: make([]uint64, room), written: make([]int64, room),
	}
}

// bytes is about what a page takes in memory.
func (pg *page) bytes() int64 {
	const dense = int64(unsafe.Sizeof(columns{}))/pageSize + int64(unsafe.Sizeof(kindNone))
	const offset, start, histogram = 2, 8, 24
	n := int64(unsafe.Sizeof(*pg)) + pg.data + offset*int64(cap(pg.offsets))
	return n + dense*int64(len(pg.kind)) + start*int64(len(pg.start)) + histogram*int64(len(pg.histogram))
}

// index returns the index of an offset, and whether there is a series.
func (pg *page) index(offset int) (int, bool) {
	if pg.offsets == nil {
		return offset, pg.kind[offset] != kindAbsent
	}
	i, ok := slices.BinarySearch(pg.offsets, uint16(offset))
	return i, ok && pg.kind[i] != kindAbsent
}

// offset returns the offset of an index.
func (pg *page) offset(index int) int {
	if pg.offsets == nil {
		return index
	}
	return int(pg.offsets[index])
}

// length is how many indexes are in use.
func (pg *page) length() int {
	if pg.offsets == nil {
		return pageSize
	}
	return len(pg.offsets)
}

// run returns for how many of n indexes, from one on, the offsets are consecutive.
func (pg *page) run(index, n int) int {
	if pg.offsets == nil {
		return min(n, pageSize-index)
	}
	most := min(n, len(pg.offsets)-index)
	for i := 1; i < most; i++ {
		if pg.offsets[index+i] != pg.offsets[index]+uint16(i) {
			return i
		}
	}
	return most
}

// full reports whether the page has to grow before a series is added.
func (pg *page) full() bool { return pg.offsets != nil && len(pg.offsets) == cap(pg.offsets) }

// add adds a series, above all others in a sparse page, and returns its index.
func (pg *page) add(offset int) int {
	index := offset
	if pg.offsets != nil {
		index = len(pg.offsets)
		if invariant.On {
			invariant.Check(index == 0 || int(pg.offsets[index-1]) < offset, "offset %d of a sparse page comes after offsets %v", offset, pg.offsets)
		}
		pg.offsets = append(pg.offsets, uint16(offset))
	}
	pg.kind[index] = kindNone
	pg.live++
	return index
}

// clone returns a copy of the page, with every series at its index.
func (pg *page) clone() *page {
	var to *page
	if pg.offsets == nil {
		to = newDensePage()
	} else {
		to = newSparsePage(cap(pg.offsets))
	}
	to.live, to.data, to.offsets, to.rows = pg.live, pg.data, append(to.offsets, pg.offsets...), pg.rows
	copy(to.kind, pg.kind)
	copy(to.labels, pg.labels)
	copy(to.timestamp, pg.timestamp)
	copy(to.value, pg.value)
	copy(to.written, pg.written)
	to.start, to.histogram = slices.Clone(pg.start), slices.Clone(pg.histogram)
	return to
}

// grown returns a sparse page with more room, or a dense one.
func (pg *page) grown() *page {
	if room := sparseStep * len(pg.offsets); room <= mostSparse {
		return pg.moved(newSparsePage(max(sparseStep, room)))
	}
	return pg.moved(newDensePage())
}

// shrunk returns the page without the memory of series that were dropped, or the page
// itself if there is nothing to gain.
func (pg *page) shrunk() *page {
	if pg.live > mostSparse || pg.live == len(pg.kind) {
		return pg
	}
	return pg.moved(newSparsePage(pg.live))
}

// moved copies the series of the page into an empty one that has room for them, and
// returns that.
func (pg *page) moved(to *page) *page {
	for i := range pg.length() {
		if pg.kind[i] == kindAbsent {
			continue
		}
		at := seriesAt{to, to.add(pg.offset(i))}
		to.setLabels(at.index, seriesAt{pg, i}.labels(), to.live == 1)
		at.set(pg.kind[i], pg.timestamp[i], math.Float64frombits(pg.value[i]), pg.written[i])
		var start int64
		if pg.start != nil {
			start = pg.start[i]
		}
		var histogram []byte
		if pg.histogram != nil {
			histogram = pg.histogram[i]
		}
		at.setRare(start, histogram)
	}
	return to
}

// remove drops a series.
func (pg *page) remove(index int) {
	pg.kind[index] = kindAbsent
	if pg.start != nil {
		pg.start[index] = 0
	}
	if pg.histogram != nil {
		pg.setHistogram(index, nil)
	}
	pg.live--
}

// seriesAt is where a series is: its page, and its index in the columns.
type seriesAt struct {
	page  *page
	index int
}

func (s seriesAt) labels() labelsAt { return s.page.rows + labelsAt(s.page.labels[s.index]) }

// setLabels sets where the row of a series is, which may be the first of the page whose row
// is set. Rows are stored in the order of references, so those of a page are near each
// other: each starts in the arena of the one before, or in the next.
func (pg *page) setLabels(index int, at labelsAt, first bool) {
	if first {
		pg.rows = at
	}
	if invariant.On {
		invariant.Check(at >= pg.rows && at-pg.rows <= math.MaxUint32, "a row at %d, in a page of rows from %d on", at, pg.rows)
	}
	pg.labels[index] = uint32(at - pg.rows)
}

// setFloats sets series from an index on, up to one that is not there, and
// returns how many it set.
func (pg *page) setFloats(index int, values []float64, timestamp, start, written int64) int {
	n := len(values)
	kinds, timestamps := pg.kind[index:index+n], pg.timestamp[index:index+n]
	bits, writtens := pg.value[index:index+n], pg.written[index:index+n]
	rare := start != 0 || pg.start != nil || pg.histogram != nil
	for i, v := range values {
		switch kinds[i] {
		case kindAbsent:
			return i
		case kindFloat, kindHistogram:
			if !Supersedes(timestamp, timestamps[i], written) {
				writtens[i] = written
				continue
			}
		}
		kinds[i], timestamps[i], bits[i], writtens[i] = kindFloat, timestamp, math.Float64bits(v), written
		if rare {
			seriesAt{pg, index + i}.setRare(start, nil)
		}
	}
	return n
}

// setHistogram makes a copy of a histogram the latest sample, unless the present one
// stays. That one's bytes are not written, since readers may hold them.
func (s seriesAt) setHistogram(timestamp int64, data []byte, written int64) {
	if s.page.kind[s.index] != kindNone && !Supersedes(timestamp, s.page.timestamp[s.index], written) {
		s.page.written[s.index] = written
		return
	}
	s.set(kindHistogram, timestamp, 0, written)
	s.setRare(0, append(make([]byte, 0, len(data)), data...)) // its start is in its bytes
}

// set replaces the latest sample.
func (s seriesAt) set(k kind, timestamp int64, value float64, written int64) {
	s.page.kind[s.index] = k
	s.page.timestamp[s.index] = timestamp
	s.page.value[s.index] = math.Float64bits(value)
	s.page.written[s.index] = written
}

// setRare sets the columns that few samples need.
func (s seriesAt) setRare(start int64, histogram []byte) {
	if start != 0 && s.page.start == nil {
		s.page.start = make([]int64, len(s.page.kind))
	}
	if s.page.start != nil {
		s.page.start[s.index] = start
	}
	if histogram != nil && s.page.histogram == nil {
		s.page.histogram = make([][]byte, len(s.page.kind))
	}
	if s.page.histogram != nil {
		s.page.setHistogram(s.index, histogram)
	}
}

func (pg *page) setHistogram(index int, data []byte) {
	pg.data += int64(len(data) - len(pg.histogram[index]))
	pg.histogram[index] = data
}

func (s seriesAt) latest() segment.Latest {
	l := segment.Latest{
		Timestamp: s.page.timestamp[s.index],
		Value:     math.Float64frombits(s.page.value[s.index]),
		Written:   s.page.written[s.index],
		None:      s.page.kind[s.index] == kindNone,
	}
	if s.page.start != nil {
		l.StartTimestamp = s.page.start[s.index]
	}
	if s.page.kind[s.index] == kindHistogram {
		l.Histogram = s.page.histogram[s.index]
	}
	return l
}

// restore sets the series to what a keyframe says.
func (s seriesAt) restore(l *segment.Latest) {
	switch {
	case l.None:
		s.set(kindNone, 0, 0, l.Written)
		s.setRare(0, nil)
	case l.Histogram != nil:
		s.set(kindHistogram, l.Timestamp, 0, l.Written)
		s.setRare(0, append(make([]byte, 0, len(l.Histogram)), l.Histogram...))
	default:
		s.set(kindFloat, l.Timestamp, l.Value, l.Written)
		s.setRare(l.StartTimestamp, nil)
	}
}
