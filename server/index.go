package server

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// postings finds series by their labels, with Prometheus' own postings lists
// and matchers. It is told of new series by the head that it observes.
//
// Series that the head dropped stay in the lists until they are the larger
// part of them, so a caller must expect references that the head does not have.
type postings struct {
	lists   *index.MemPostings
	builder labels.ScratchBuilder
	live    int
	dropped int

	queue chan []newSeries // not nil while another goroutine fills the lists
	batch []newSeries
}

// newSeries waits to be put into the lists.
type newSeries struct {
	ref    storage.SeriesRef
	labels labels.Labels
}

// newSeriesBatch is how many series wait for each other.
const newSeriesBatch = 1024

func newPostings() *postings {
	return &postings{lists: index.NewMemPostings(), builder: labels.NewScratchBuilder(16)}
}

// SeriesAdded implements [head.Observer].
func (p *postings) SeriesAdded(ref uint64, ls segment.Labels) {
	p.builder.Reset()
	for _, l := range ls {
		p.builder.Add(l.Name, l.Value)
	}
	p.live++
	if p.queue == nil {
		p.lists.Add(storage.SeriesRef(ref), p.builder.Labels())
		return
	}
	p.batch = append(p.batch, newSeries{storage.SeriesRef(ref), p.builder.Labels()})
	if len(p.batch) == newSeriesBatch {
		p.queue <- p.batch
		p.batch = make([]newSeries, 0, newSeriesBatch)
	}
}

// fillAside has another goroutine fill the lists until wait is called, which
// returns when they are complete; nothing may be looked up before. Filling them
// is half the work of a restart.
func (p *postings) fillAside() (wait func()) {
	queue, done := make(chan []newSeries, 16), make(chan struct{})
	p.queue = queue
	go func() {
		defer close(done)
		for batch := range queue {
			for _, s := range batch {
				p.lists.Add(s.ref, s.labels)
			}
		}
	}()
	return func() {
		queue <- p.batch
		close(queue)
		<-done
		p.queue, p.batch = nil, nil
	}
}

// SeriesDropped implements [head.Observer].
func (p *postings) SeriesDropped(uint64) {
	p.live--
	p.dropped++
}

// tidy makes the lists anew from the head once most of what is in them is gone.
func (p *postings) tidy(h *head.Head) {
	if p.queue != nil || p.dropped <= p.live {
		return
	}
	var refs []uint64
	h.Each(func(ref uint64, _ *segment.Latest) bool {
		refs = append(refs, ref)
		return true
	})
	*p = *newPostings()
	var ls segment.Labels
	for _, ref := range refs {
		ls, _ = h.Labels(ref, ls[:0])
		p.SeriesAdded(ref, ls)
	}
}

// find returns the references that a selection matches, ascending.
func (p *postings) find(ctx context.Context, s selection) ([]uint64, error) {
	var matched []index.Postings
	for _, sel := range s {
		matched = append(matched, p.forSelector(ctx, sel))
	}
	all := p.lists.All()
	if len(s) > 0 {
		all = index.Merge(ctx, matched...)
	}
	refs := make([]uint64, 0, 64)
	for all.Next() {
		refs = append(refs, uint64(all.At()))
	}
	return refs, all.Err()
}

// forSelector intersects the lists of the matchers that want a label, and takes
// away those of the matchers that also match its absence.
func (p *postings) forSelector(ctx context.Context, s selector) index.Postings {
	var with, without []index.Postings
	for _, m := range s {
		switch {
		case m.Matches(""):
			without = append(without, p.lists.PostingsForLabelMatching(ctx, m.Name, func(v string) bool { return !m.Matches(v) }))
		case m.Type == labels.MatchEqual:
			with = append(with, p.lists.Postings(ctx, m.Name, m.Value))
		case m.Type == labels.MatchRegexp && len(m.SetMatches()) > 0:
			with = append(with, p.lists.Postings(ctx, m.Name, m.SetMatches()...))
		default:
			with = append(with, p.lists.PostingsForLabelMatching(ctx, m.Name, m.Matches))
		}
	}
	if len(with) == 0 {
		with = append(with, p.lists.All())
	}
	found := index.Intersect(with...)
	for _, w := range without {
		found = index.Without(found, w)
	}
	return found
}
