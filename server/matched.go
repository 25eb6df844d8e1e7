package server

import "github.com/promgrpc/exporter/internal/segment"

// matched remembers, for one stream and one log, which series are selected, so
// that the labels of each are looked at once.
type matched struct {
	selection selection
	pages     map[uint64]*matchedPage
	labels    segment.Labels
}

// matchedPage covers as many references as each bitmap has bits.
type matchedPage struct {
	seen, selected [matchedPageSize / 64]uint64
}

const matchedPageSize = 4096

func newMatched(s selection) *matched {
	return &matched{selection: s, pages: make(map[uint64]*matchedPage)}
}

// has says whether a series is selected. The labels are asked for the first
// time only; without them, the series is not selected this time.
func (m *matched) has(ref uint64, from labelSource) bool {
	if len(m.selection) == 0 {
		return true
	}
	page := m.pages[ref/matchedPageSize]
	if page == nil {
		page = &matchedPage{}
		m.pages[ref/matchedPageSize] = page
	}
	word, bit := ref%matchedPageSize/64, uint64(1)<<(ref%64)
	if page.seen[word]&bit == 0 {
		var ok bool
		if m.labels, ok = from.Labels(ref, m.labels[:0]); !ok {
			return false
		}
		page.seen[word] |= bit
		if m.selection.matches(m.labels) {
			page.selected[word] |= bit
		}
	}
	return page.selected[word]&bit != 0
}
