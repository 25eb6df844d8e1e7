package head

import (
	"fmt"
	"iter"
	"math"
	"unsafe"

	"github.com/promgrpc/exporter/internal/segment"
)

// pageSize is how many references share a page.
const pageSize = 1024

// page holds the series of pageSize consecutive references as columns, which
// the garbage collector need not walk. The columns that few series need are
// made with the first value.
type page struct {
	epoch     uint64 // of the pages when it was made
	live      int
	kind      [pageSize]kind
	labels    [pageSize]labelsAt
	timestamp [pageSize]int64
	value     [pageSize]uint64 // the bits of the float
	written   [pageSize]int64
	start     *[pageSize]int64
	histogram *[pageSize][]byte
	data      int64 // bytes of the histograms
}

// pointerSize is what a page takes in the list.
const pointerSize = 8

// bytes is about what a page takes.
func (pg *page) bytes() int64 {
	n := int64(unsafe.Sizeof(*pg)) + pg.data
	if pg.start != nil {
		n += int64(unsafe.Sizeof(*pg.start))
	}
	if pg.histogram != nil {
		n += int64(unsafe.Sizeof(*pg.histogram))
	}
	return n
}

// kind is what the latest sample of a series is.
type kind uint8

const (
	kindAbsent kind = iota // there is no such series
	kindNone
	kindFloat
	kindHistogram
)

// pages finds a series by its reference. References only grow, so pages whose
// series were all dropped are given up from the low end.
type pages struct {
	first uint64 // number of the page at index 0
	list  []*page
	live  int

	views int    // that are held
	epoch uint64 // counts the views that were taken
}

// at returns a page by its number, nil if there is none.
func (p *pages) at(number uint64) *page {
	if number < p.first || number-p.first >= uint64(len(p.list)) {
		return nil
	}
	return p.list[number-p.first]
}

// mutable is slot for one who is going to change the series: a page that a
// view may hold is replaced by a copy first.
func (p *pages) mutable(ref uint64) (slot, bool) {
	s, ok := p.slot(ref)
	if ok {
		s.page = p.own(ref / pageSize)
	}
	return s, ok
}

func (p *pages) own(number uint64) *page {
	pg := p.list[number-p.first]
	if p.views == 0 || pg.epoch == p.epoch {
		return pg
	}
	mine := *pg
	mine.epoch = p.epoch
	if pg.start != nil {
		start := *pg.start
		mine.start = &start
	}
	if pg.histogram != nil {
		histogram := *pg.histogram
		mine.histogram = &histogram
	}
	p.list[number-p.first] = &mine
	return &mine
}

// slot is the place of one series.
type slot struct {
	page  *page
	index int
}

func (p *pages) slot(ref uint64) (slot, bool) {
	pg := p.at(ref / pageSize)
	index := int(ref % pageSize)
	if pg == nil || pg.kind[index] == kindAbsent {
		return slot{}, false
	}
	return slot{pg, index}, true
}

// maxPages bounds how far apart the lowest and the highest reference may lie:
// each page between them takes an entry in the list.
const maxPages = 1 << 24

// insert makes a place for a reference that is not there yet.
func (p *pages) insert(ref uint64) (slot, error) {
	number := ref / pageSize
	if len(p.list) == 0 {
		p.first = number
	}
	if max(number, p.first+uint64(len(p.list)))-min(number, p.first) > maxPages {
		return slot{}, fmt.Errorf("reference %d is too far from %d, the lowest in use", ref, p.first*pageSize)
	}
	if number < p.first {
		p.list = append(make([]*page, p.first-number), p.list...)
		p.first = number
	}
	for number-p.first >= uint64(len(p.list)) {
		p.list = append(p.list, nil)
	}
	pg := p.list[number-p.first]
	if pg == nil {
		pg = &page{epoch: p.epoch}
		p.list[number-p.first] = pg
	}
	pg = p.own(number)
	s := slot{pg, int(ref % pageSize)}
	pg.kind[s.index] = kindNone
	pg.live++
	p.live++
	return s, nil
}

func (p *pages) remove(ref uint64) {
	s, ok := p.mutable(ref)
	if !ok {
		return
	}
	s.page.kind[s.index] = kindAbsent
	if s.page.start != nil {
		s.page.start[s.index] = 0
	}
	if s.page.histogram != nil {
		s.page.setHistogram(s.index, nil)
	}
	s.page.live--
	p.live--
	if s.page.live > 0 {
		return
	}
	p.list[ref/pageSize-p.first] = nil
	for len(p.list) > 0 && p.list[0] == nil {
		p.list = p.list[1:]
		p.first++
	}
}

// all yields every series by ascending reference.
func (p *pages) all() iter.Seq2[uint64, slot] { return p.from(0) }

// from yields every series from a reference on, ascending.
func (p *pages) from(ref uint64) iter.Seq2[uint64, slot] {
	return func(yield func(uint64, slot) bool) {
		for i, pg := range p.list {
			base := (p.first + uint64(i)) * pageSize
			if pg == nil || base+pageSize <= ref {
				continue
			}
			for index := range pageSize {
				if r := base + uint64(index); r >= ref && pg.kind[index] != kindAbsent && !yield(r, slot{pg, index}) {
					return
				}
			}
		}
	}
}

func (s slot) labels() labelsAt { return s.page.labels[s.index] }

// setFloats takes over float samples. If a series is not there, it returns that
// one's reference and false.
func (p *pages) setFloats(s *segment.Samples, written int64) (uint64, bool) {
	for part := range s.Parts() {
		for len(part.Values) > 0 {
			first, ok := p.mutable(part.First)
			if !ok {
				return part.First, false
			}
			n := min(len(part.Values), pageSize-first.index)
			if i := first.page.setFloats(first.index, part.Values[:n], part.Timestamp, part.StartTimestamp, written); i < n {
				return part.First + uint64(i), false
			}
			part.First += uint64(n)
			part.Values = part.Values[n:]
		}
	}
	return 0, true
}

// setFloats sets series from an index on, up to one that is not there, and
// returns how many.
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
			if timestamp < timestamps[i] {
				continue
			}
		}
		kinds[i], timestamps[i], bits[i], writtens[i] = kindFloat, timestamp, math.Float64bits(v), written
		if rare {
			slot{pg, index + i}.setRare(start, nil)
		}
	}
	return n
}

// setHistogram takes over a copy of a histogram, unless the series has a newer
// sample. The histogram before is left as it was, since readers may hold it.
func (s slot) setHistogram(timestamp int64, data []byte, written int64) {
	if s.page.kind[s.index] != kindNone && timestamp < s.page.timestamp[s.index] {
		return
	}
	s.set(kindHistogram, timestamp, 0, written)
	s.setRare(0, append(make([]byte, 0, len(data)), data...)) // its start is in its bytes
}

// set replaces the latest sample.
func (s slot) set(k kind, timestamp int64, value float64, written int64) {
	s.page.kind[s.index] = k
	s.page.timestamp[s.index] = timestamp
	s.page.value[s.index] = math.Float64bits(value)
	s.page.written[s.index] = written
}

// setRare replaces what few samples have.
func (s slot) setRare(start int64, histogram []byte) {
	if start != 0 && s.page.start == nil {
		s.page.start = new([pageSize]int64)
	}
	if s.page.start != nil {
		s.page.start[s.index] = start
	}
	if histogram != nil && s.page.histogram == nil {
		s.page.histogram = new([pageSize][]byte)
	}
	if s.page.histogram != nil {
		s.page.setHistogram(s.index, histogram)
	}
}

func (pg *page) setHistogram(index int, data []byte) {
	pg.data += int64(len(data) - len(pg.histogram[index]))
	pg.histogram[index] = data
}

func (s slot) latest() segment.Latest {
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

// restore sets the place to what a keyframe says.
func (s slot) restore(l *segment.Latest) {
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
