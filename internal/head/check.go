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

// mostSummed is of about how many pages a view has sums: others than those of the view
// before, where it has more.
const mostSummed = 8

// sums are sums of pages of a view by their indexes, so that a write to one shows.
func (p *pages) sums() map[int]uint64 {
	sums := map[int]uint64{}
	step := 1 + len(p.list)/mostSummed
	for i := int(p.epoch) % step; i < len(p.list); i += step {
		sums[i] = p.list[i].sum()
	}
	return sums
}

// checkUnchanged checks that nobody has written to a page since the view was taken.
func (v *View) checkUnchanged(page int) {
	sum, ok := v.sums[page]
	invariant.Check(!ok || v.pages.list[page].sum() == sum, "page %d of a view at block %d was written", v.pages.first+uint64(page), v.sequence)
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
		add(uint64(pg.labels[i]))
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
