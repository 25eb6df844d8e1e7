package head

import "github.com/promgrpc/exporter/internal/invariant"

// checkNumbers checks that the label numbers of a series are of this store.
func (h *Head) checkNumbers(numbers []uint32) {
	for _, n := range numbers {
		invariant.Check(int(n) < len(h.labels.wires), "label number %d of %d", n, len(h.labels.wires))
	}
}

// checkLive checks that as many series are there as are counted.
func (p *pages) checkLive() {
	n := 0
	for range p.all() {
		n++
	}
	invariant.Check(n == p.live, "%d series in pages, %d counted", n, p.live)
}

// checked is one page of a view with its sum, so that a write to it shows. More pages
// would keep the writers of a head with many views waiting for long.
type checked struct {
	page int
	sum  uint64
}

// check picks another page than that of the view before.
func (p *pages) check() checked {
	if len(p.list) == 0 {
		return checked{page: -1}
	}
	page := int(p.epoch % uint64(len(p.list)))
	return checked{page, p.list[page].sum()}
}

// checkUnchanged checks that nobody has written to a page since the view was taken.
func (v *View) checkUnchanged(page int) {
	invariant.Check(page != v.checked.page || v.pages.list[page].sum() == v.checked.sum,
		"page %d of a view at block %d was written", v.pages.first+uint64(page), v.sequence)
}

// sum depends on every column of the page.
func (pg *page) sum() (sum uint64) {
	if pg == nil {
		return 0
	}
	add := func(n uint64) { sum = sum*1099511628211 + n }
	add(uint64(pg.live))
	for i := range pg.length() {
		add(uint64(pg.offset(i)))
		add(uint64(pg.kind[i]))
		add(uint64(seriesAt{pg, i}.labels()))
		add(uint64(pg.timestamp[i]))
		add(pg.value[i])
		add(uint64(pg.written[i]))
		if pg.start != nil {
			add(uint64(pg.start[i]))
		}
		if pg.histogram != nil {
			for _, b := range pg.histogram[i] {
				add(uint64(b))
			}
		}
	}
	return sum
}
