package stream

import (
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/refset"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// matched remembers which series of one log a stream selects, so that the labels of
// each are matched once.
type matched struct {
	selection *selection.Selection
	// evaluation is nil if matching is too quick to wait for a turn.
	evaluation *selection.Evaluation
	pages      map[uint64]*matchedPage
	labels     segment.Labels
	below      uint64 // the first reference of which nothing is known before it is seen
	pruneAt    int    // how many pages there are when those of dropped series go
}

// matchedPage is about the refs of one page.
type matchedPage struct {
	seen, selected refset.Page
}

// prunePages is the least number of pages at which any go.
const prunePages = 64

func newMatched(s *selection.Selection, e *selection.Evaluation) *matched {
	m := &matched{selection: s, pages: make(map[uint64]*matchedPage), pruneAt: prunePages}
	if s.Scans {
		m.evaluation = e
	}
	return m
}

func (m *matched) bytes() int64 {
	return int64(len(m.pages)) * (2*refset.PageBytes + refset.EntryBytes)
}

// prune removes the pages whose series were all dropped, if there are many pages: refs
// only grow, and a stream may last for months.
func (m *matched) prune(h *head.Head) {
	if len(m.pages) < m.pruneAt {
		return
	}
	for number := range m.pages {
		if !h.HasAny(number*refset.PageSize, (number+1)*refset.PageSize) {
			delete(m.pages, number)
		}
	}
	m.pruneAt = max(prunePages, 2*len(m.pages))
}

// has says whether a series that was observed is selected.
func (m *matched) has(ref uint64) bool {
	if m.selection.All() {
		return true
	}
	page := m.pages[ref/refset.PageSize]
	return page != nil && page.selected.Has(ref)
}

// next returns the first series from ref on that was observed and is selected, and end if
// there is none below it.
func (m *matched) next(ref, end uint64) uint64 {
	if m.selection.All() {
		return ref
	}
	for ref < end {
		last := min(end, (ref/refset.PageSize+1)*refset.PageSize)
		if page := m.pages[ref/refset.PageSize]; page != nil {
			if ref = page.selected.Next(ref, last); ref < last {
				return ref
			}
		}
		ref = last
	}
	return end
}

// learn takes which series are selected of those that there are.
func (m *matched) learn(found *replica.Selected) {
	clear(m.pages)
	for _, ref := range found.Refs {
		m.page(ref).selected.Add(ref)
	}
	m.below = found.Next
}

// page returns the page of a series, which is made if there is none.
func (m *matched) page(ref uint64) *matchedPage {
	page := m.pages[ref/refset.PageSize]
	if page == nil {
		page = &matchedPage{}
		m.pages[ref/refset.PageSize] = page
	}
	return page
}

// observe matches the series of a block that come for the first time. A series without
// labels is not selected this time.
func (m *matched) observe(b *segment.Block, from labelSource) error {
	if m.selection.All() {
		return nil
	}
	if m.evaluation != nil {
		defer m.evaluation.Pause()
	}
	for part := range b.Samples.Parts() {
		if err := m.observeRange(part.First, len(part.Values), from); err != nil {
			return err
		}
	}
	for i := range b.Histograms {
		if err := m.observeRange(b.Histograms[i].Ref, 1, from); err != nil {
			return err
		}
	}
	for i := range b.Exemplars {
		if err := m.observeRange(b.Exemplars[i].Ref, 1, from); err != nil {
			return err
		}
	}
	return nil
}

// observeRange observes n series with consecutive refs.
func (m *matched) observeRange(ref uint64, n int, from labelSource) error {
	end := ref + uint64(n)
	for ref = max(ref, m.below); ref < end; {
		page := m.page(ref)
		last := min(end, (ref/refset.PageSize+1)*refset.PageSize)
		for ref = page.seen.NextMissing(ref, last); ref < last; ref = page.seen.NextMissing(ref+1, last) {
			known, selected, err := m.match(ref, from)
			if err != nil {
				return err
			}
			if known {
				page.seen.Add(ref)
			}
			if selected {
				page.selected.Add(ref)
			}
		}
	}
	return nil
}

// match matches a series, if its labels are known.
func (m *matched) match(ref uint64, from labelSource) (known, selected bool, err error) {
	if m.labels, known = from.Labels(ref, m.labels[:0]); !known {
		return false, false, nil
	}
	if m.evaluation != nil {
		if err := m.evaluation.StepSeries(m.selection, m.labels); err != nil {
			return false, false, err
		}
	}
	return true, m.selection.Matches(m.labels), nil
}
