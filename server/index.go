package server

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// seriesIndex finds series by their labels, with Prometheus' own matchers and
// operations on postings lists. The lists themselves are kept by the numbers
// that the head gives to labels, so that a new series costs no lookup of a
// string. It is told of series by the head that it observes.
//
// Series that the head dropped stay in the lists until the head gives labels
// other numbers, so a caller must expect references that it does not have.
type seriesIndex struct {
	label func(number uint32) segment.Label

	refs   []storage.SeriesRef     // ascending; a series is known by its place here
	lists  [][]uint32              // places by label number, ascending
	values map[string]*labelValues // by label name
}

// labelValues are those of one label name.
type labelValues struct {
	all    []labelValue
	number map[string]uint32
}

type labelValue struct {
	text   string
	number uint32
}

// newSeriesIndex returns an index and the head that it observes.
func newSeriesIndex() (*seriesIndex, *head.Head) {
	x := &seriesIndex{values: make(map[string]*labelValues)}
	h := head.New(head.WithObserver(x))
	x.label = h.Label
	return x, h
}

// SeriesAdded implements [head.Observer].
func (x *seriesIndex) SeriesAdded(ref uint64, numbers []uint32) {
	place := uint32(len(x.refs))
	x.refs = append(x.refs, storage.SeriesRef(ref))
	for _, n := range numbers {
		for n >= uint32(len(x.lists)) {
			x.labelAdded()
		}
		x.lists[n] = append(x.lists[n], place)
	}
}

// labelAdded takes up the label of the next number.
func (x *seriesIndex) labelAdded() {
	number := uint32(len(x.lists))
	x.lists = append(x.lists, nil)
	l := x.label(number)
	of := x.values[l.Name]
	if of == nil {
		of = &labelValues{number: make(map[string]uint32)}
		x.values[l.Name] = of
	}
	of.all = append(of.all, labelValue{l.Value, number})
	of.number[l.Value] = number
}

// SeriesDropped implements [head.Observer].
func (x *seriesIndex) SeriesDropped(uint64) {}

// Renumbered implements [head.Observer].
func (x *seriesIndex) Renumbered() {
	x.refs, x.lists, x.values = nil, nil, make(map[string]*labelValues)
}

// find returns the references that a selection matches, ascending.
func (x *seriesIndex) find(ctx context.Context, s selection) ([]uint64, error) {
	var matched []index.Postings
	for _, sel := range s {
		matched = append(matched, x.forSelector(ctx, sel))
	}
	found := x.all()
	if len(s) > 0 {
		found = index.Merge(ctx, matched...)
	}
	refs := make([]uint64, 0, 64)
	for found.Next() {
		refs = append(refs, uint64(found.At()))
	}
	return refs, found.Err()
}

// forSelector intersects the lists of the matchers that want a label, and takes
// away those of the matchers that also match its absence.
func (x *seriesIndex) forSelector(ctx context.Context, s selector) index.Postings {
	var with, without []index.Postings
	for _, m := range s {
		switch {
		case m.Matches(""):
			without = append(without, x.matching(ctx, m.Name, func(v string) bool { return !m.Matches(v) }))
		case m.Type == labels.MatchEqual:
			with = append(with, x.having(ctx, m.Name, m.Value))
		case m.Type == labels.MatchRegexp && len(m.SetMatches()) > 0:
			with = append(with, x.having(ctx, m.Name, m.SetMatches()...))
		default:
			with = append(with, x.matching(ctx, m.Name, m.Matches))
		}
	}
	if len(with) == 0 {
		with = append(with, x.all())
	}
	found := index.Intersect(with...)
	for _, w := range without {
		found = index.Without(found, w)
	}
	return found
}

func (x *seriesIndex) all() index.Postings { return index.NewListPostings(x.refs) }

// having returns the series with one of several values of a label.
func (x *seriesIndex) having(ctx context.Context, name string, texts ...string) index.Postings {
	var numbers []uint32
	if of := x.values[name]; of != nil {
		for _, text := range texts {
			if n, ok := of.number[text]; ok {
				numbers = append(numbers, n)
			}
		}
	}
	return x.merged(ctx, numbers)
}

// matching returns the series that have a label whose value matches.
func (x *seriesIndex) matching(ctx context.Context, name string, matches func(string) bool) index.Postings {
	var numbers []uint32
	if of := x.values[name]; of != nil {
		for _, v := range of.all {
			if matches(v.text) {
				numbers = append(numbers, v.number)
			}
		}
	}
	return x.merged(ctx, numbers)
}

// merged returns the series with any of the labels.
func (x *seriesIndex) merged(ctx context.Context, numbers []uint32) index.Postings {
	of, lists := make([]places, len(numbers)), make([]index.Postings, len(numbers))
	for i, n := range numbers {
		of[i] = places{of: x.refs, rest: x.lists[n]}
		lists[i] = &of[i]
	}
	return index.Merge(ctx, lists...)
}

// places is a list of the index as Prometheus' operations take it.
type places struct {
	of   []storage.SeriesRef
	rest []uint32
	at   storage.SeriesRef
}

// Next implements [index.Postings].
func (p *places) Next() bool {
	if len(p.rest) == 0 {
		return false
	}
	p.at, p.rest = p.of[p.rest[0]], p.rest[1:]
	return true
}

// Seek implements [index.Postings].
func (p *places) Seek(to storage.SeriesRef) bool {
	if p.at >= to {
		return true
	}
	// Most often it is near: double the step until it is passed, then halve.
	low, high := 0, 1
	for high < len(p.rest) && p.of[p.rest[high-1]] < to {
		low, high = high, 2*high
	}
	high = min(high, len(p.rest))
	for low < high {
		if middle := (low + high) / 2; p.of[p.rest[middle]] < to {
			low = middle + 1
		} else {
			high = middle
		}
	}
	p.rest = p.rest[low:]
	return p.Next()
}

// At implements [index.Postings].
func (p *places) At() storage.SeriesRef { return p.at }

// Err implements [index.Postings].
func (p *places) Err() error { return nil }
