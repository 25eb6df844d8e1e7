package stream

import (
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/refset"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/selection"
)

// matched remembers, for one stream and one log, which series are selected, so
// that the labels of each are looked at once.
type matched struct {
	selection *selection.Selection
	// evaluation is nil if it is not worth the while to wait for a turn.
	evaluation *selection.Evaluation
	pages      map[uint64]*matchedPage
	labels     segment.Labels
	prune      int // the number of pages at which those of dropped series go
}

// matchedPage is about the references of one page.
type matchedPage struct {
	seen, selected refset.Page
}

// prunePages is the least number of pages of which some are given up.
const prunePages = 64

func newMatched(s *selection.Selection, e *selection.Evaluation) *matched {
	m := &matched{selection: s, pages: make(map[uint64]*matchedPage), prune: prunePages}
	if s.Scans {
		m.evaluation = e
	}
	return m
}

func (m *matched) bytes() int64 {
	return int64(len(m.pages)) * (2*refset.PageBytes + refset.EntryBytes)
}

// forget gives up the pages whose series were all dropped, when there are many
// pages: references only grow, and a stream may last for months.
func (m *matched) forget(h *head.Head) {
	if len(m.pages) < m.prune {
		return
	}
	for number := range m.pages {
		if !h.HasAny(number*refset.PageSize, (number+1)*refset.PageSize) {
			delete(m.pages, number)
		}
	}
	m.prune = max(prunePages, 2*len(m.pages))
}

// has says whether a series is selected that was learnt.
func (m *matched) has(ref uint64) bool {
	if m.selection.All() {
		return true
	}
	page := m.pages[ref/refset.PageSize]
	return page != nil && page.selected.Has(ref)
}

// learn looks at the labels of the series of a block that are seen for the first
// time. Without labels, a series is not selected this time.
func (m *matched) learn(b *segment.Block, from labelSource) error {
	if m.selection.All() {
		return nil
	}
	if m.evaluation != nil {
		defer m.evaluation.Pause()
	}
	for part := range b.Samples.Parts() {
		if err := m.learnFrom(part.First, len(part.Values), from); err != nil {
			return err
		}
	}
	for i := range b.Histograms {
		if err := m.learnFrom(b.Histograms[i].Ref, 1, from); err != nil {
			return err
		}
	}
	for i := range b.Exemplars {
		if err := m.learnFrom(b.Exemplars[i].Ref, 1, from); err != nil {
			return err
		}
	}
	return nil
}

// learnFrom learns n series with references one after another.
func (m *matched) learnFrom(ref uint64, n int, from labelSource) error {
	for end := ref + uint64(n); ref < end; {
		page := m.pages[ref/refset.PageSize]
		if page == nil {
			page = &matchedPage{}
			m.pages[ref/refset.PageSize] = page
		}
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

// match looks at the labels of a series, if there are any.
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
