package server

import (
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// matched remembers, for one stream and one log, which series are selected, so
// that the labels of each are looked at once.
type matched struct {
	selection selection
	pages     map[uint64]*matchedPage
	labels    segment.Labels
	prune     int // the number of pages at which those of dropped series go
}

// matchedPage covers as many references as each bitmap has bits.
type matchedPage struct {
	seen, selected refPage
}

// prunePages is the least number of pages of which some are given up.
const prunePages = 64

func newMatched(s selection) *matched {
	return &matched{selection: s, pages: make(map[uint64]*matchedPage), prune: prunePages}
}

func (m *matched) bytes() int64 { return int64(len(m.pages)) * (2*refPageSize/8 + mapEntry) }

// forget gives up the pages whose series were all dropped, when there are many
// pages: references only grow, and a stream may last for months.
func (m *matched) forget(h *head.Head) {
	if len(m.pages) < m.prune {
		return
	}
	for number := range m.pages {
		if !h.HasAny(number*refPageSize, (number+1)*refPageSize) {
			delete(m.pages, number)
		}
	}
	m.prune = max(prunePages, 2*len(m.pages))
}

// has says whether a series is selected. The labels are asked for the first
// time only; without them, the series is not selected this time.
func (m *matched) has(ref uint64, from labelSource) bool {
	if len(m.selection) == 0 {
		return true
	}
	page := m.pages[ref/refPageSize]
	if page == nil {
		page = &matchedPage{}
		m.pages[ref/refPageSize] = page
	}
	word, bit := ref%refPageSize/64, uint64(1)<<(ref%64)
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
