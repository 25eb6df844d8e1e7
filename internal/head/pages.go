package head

import (
	"fmt"
	"iter"
	"slices"

	"github.com/promgrpc/exporter/internal/segment"
)

// pointerSize is what a page takes in the list.
const pointerSize = 8

// pages finds series by their references. References only grow, so the list loses
// pages at its low end, when all of their series were dropped.
//
// A view is a copy of the list, and no copy of a page. So the head copies a page that
// a view may hold before it writes to it, once a view at most:
//
//	head  epoch 7   [A][B][C]     a view was taken: its list is the same, and the
//	view            [A][B][C]     epoch, which was 6, went up
//
//	head  epoch 7   [A][b][C]     a series of B was written: b is a copy of epoch 7,
//	view            [A][B][C]     and the next write to b copies nothing
//
// A page of an epoch below the present one may be held, as long as any view is.
type pages struct {
	first uint64 // number of the page at index 0
	list  []*page
	live  int // series

	views int    // that were not released
	epoch uint64 // how many views there were
}

// at returns a page by its number, nil if there is none.
func (p *pages) at(number uint64) *page {
	if number < p.first || number-p.first >= uint64(len(p.list)) {
		return nil
	}
	return p.list[number-p.first]
}

// mutable is find for a caller that writes to the series.
func (p *pages) mutable(ref uint64) (seriesAt, bool) {
	s, ok := p.find(ref)
	if ok {
		s.page = p.own(ref / pageSize)
	}
	return s, ok
}

// own returns a page that no view holds, a copy if need be.
func (p *pages) own(number uint64) *page {
	pg := p.list[number-p.first]
	if p.views == 0 || pg.epoch == p.epoch {
		return pg
	}
	return p.put(number, pg.clone())
}

// put sets the page of a number to one that nobody else has.
func (p *pages) put(number uint64, pg *page) *page {
	pg.epoch = p.epoch
	p.list[number-p.first] = pg
	return pg
}

func (p *pages) find(ref uint64) (seriesAt, bool) {
	pg := p.at(ref / pageSize)
	if pg == nil {
		return seriesAt{}, false
	}
	index, ok := pg.index(int(ref % pageSize))
	return seriesAt{pg, index}, ok
}

// maxPages bounds the distance of the lowest and the highest reference, since each
// page between them has an entry in the list.
const maxPages = 1 << 24

// insert adds a series, whose reference is above all others.
func (p *pages) insert(ref uint64) (seriesAt, error) {
	number := ref / pageSize
	if len(p.list) == 0 {
		p.first = number
	}
	if max(number, p.first+uint64(len(p.list)))-min(number, p.first) > maxPages {
		return seriesAt{}, fmt.Errorf("reference %d is too far from %d, the lowest in use", ref, p.first*pageSize)
	}
	if number < p.first {
		p.list = append(make([]*page, p.first-number), p.list...)
		p.first = number
	}
	for number-p.first >= uint64(len(p.list)) {
		p.list = append(p.list, nil)
	}
	offset := int(ref % pageSize)
	switch pg := p.list[number-p.first]; {
	case pg == nil && offset == 0: // As a rule the others follow.
		p.put(number, newDensePage())
	case pg == nil:
		p.put(number, newSparsePage(sparseStep))
	case pg.full():
		p.put(number, pg.grown())
	}
	p.live++
	pg := p.own(number)
	return seriesAt{pg, pg.add(offset)}, nil
}

func (p *pages) remove(ref uint64) {
	s, ok := p.mutable(ref)
	if !ok {
		return
	}
	s.page.remove(s.index)
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

// shrink gives up the memory of dropped series in pages where few are left.
func (p *pages) shrink() {
	for i, pg := range p.list {
		if pg == nil {
			continue
		}
		if less := pg.shrunk(); less != pg {
			p.put(p.first+uint64(i), less)
		}
	}
	if len(p.list) < cap(p.list)/2 {
		p.list = slices.Clone(p.list)
	}
}

// all yields every series by ascending reference.
func (p *pages) all() iter.Seq2[uint64, seriesAt] { return p.from(0) }

// from yields every series from a reference on, ascending.
func (p *pages) from(ref uint64) iter.Seq2[uint64, seriesAt] {
	return func(yield func(uint64, seriesAt) bool) {
		for i, pg := range p.list {
			base := (p.first + uint64(i)) * pageSize
			if pg == nil || base+pageSize <= ref {
				continue
			}
			for index := range pg.length() {
				if pg.kind[index] == kindAbsent {
					continue
				}
				if r := base + uint64(pg.offset(index)); r >= ref && !yield(r, seriesAt{pg, index}) {
					return
				}
			}
		}
	}
}

// setFloats sets the latest samples of a part. If a series is not there, it returns its
// reference and false.
func (p *pages) setFloats(part segment.Part, written int64) (uint64, bool) {
	for len(part.Values) > 0 {
		first, ok := p.mutable(part.First)
		if !ok {
			return part.First, false
		}
		n := first.page.run(first.index, len(part.Values))
		if i := first.page.setFloats(first.index, part.Values[:n], part.Timestamp, part.StartTimestamp, written); i < n {
			return part.First + uint64(i), false
		}
		part.First += uint64(n)
		part.Values = part.Values[n:]
	}
	return 0, true
}

// setHistogram sets a series' latest sample, and reports whether the series is there.
func (p *pages) setHistogram(h *segment.Histogram, written int64) bool {
	s, ok := p.mutable(h.Ref)
	if ok {
		s.setHistogram(h.Timestamp, h.Data, written)
	}
	return ok
}
