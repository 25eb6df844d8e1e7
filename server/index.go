package server

import (
	"context"
	"sort"

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

	refs   []uint64                // ascending; a series is known by its place here
	lists  []placeList             // by label number
	row    []uint32                // label numbers of the series that was added last
	values map[string]*labelValues // by label name
}

// placeList holds the places of the series that have a label, as runs: series
// that were created together have most of their labels in common.
type placeList struct {
	runs []placeRun
	// A run begins at open-1, and goes on as far as there are series; 0 is none.
	open uint32
	// in is one more than the place of the last series that was seen to have the
	// label where the one before it had another.
	in uint32
}

// placeRun is from one place up to, not including, another.
type placeRun struct{ from, to uint32 }

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

// SeriesAdded implements [head.Observer]. Only the labels that the series does
// not share with the one before cost anything.
func (x *seriesIndex) SeriesAdded(ref uint64, numbers []uint32) {
	place := uint32(len(x.refs))
	x.refs = append(x.refs, ref)
	for i, n := range numbers {
		if i < len(x.row) && x.row[i] == n {
			continue
		}
		for n >= uint32(len(x.lists)) {
			x.labelAdded()
		}
		l := &x.lists[n]
		if l.in = place + 1; l.open == 0 {
			l.open = place + 1
		}
	}
	for i, n := range x.row {
		if l := &x.lists[n]; (i >= len(numbers) || numbers[i] != n) && l.in != place+1 {
			l.runs = append(l.runs, placeRun{l.open - 1, place})
			l.open = 0
		}
	}
	x.row = append(x.row[:0], numbers...)
}

// labelAdded takes up the label of the next number.
func (x *seriesIndex) labelAdded() {
	number := uint32(len(x.lists))
	x.lists = append(x.lists, placeList{})
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
	x.refs, x.lists, x.row, x.values = nil, nil, nil, make(map[string]*labelValues)
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
		refs = append(refs, x.refs[found.At()-1])
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

func (x *seriesIndex) all() index.Postings {
	return &places{last: placeRun{0, uint32(len(x.refs))}}
}

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
		l := &x.lists[n]
		of[i].rest = l.runs
		if l.open > 0 {
			of[i].last = placeRun{l.open - 1, uint32(len(x.refs))}
		}
		lists[i] = &of[i]
	}
	return index.Merge(ctx, lists...)
}

// places is a list of the index as Prometheus' operations take it. What they
// take for references are places, and one.
type places struct {
	rest []placeRun // behind the run at hand
	last placeRun   // behind these
	run  placeRun   // what is left of it
	at   storage.SeriesRef
}

// next moves on to the next run, which is empty at the end.
func (p *places) next() {
	if len(p.rest) > 0 {
		p.run, p.rest = p.rest[0], p.rest[1:]
	} else {
		p.run, p.last = p.last, placeRun{}
	}
}

// Next implements [index.Postings].
func (p *places) Next() bool {
	if p.run.from == p.run.to {
		p.next()
	}
	if p.run.from == p.run.to {
		return false
	}
	p.run.from++
	p.at = storage.SeriesRef(p.run.from)
	return true
}

// Seek implements [index.Postings].
func (p *places) Seek(to storage.SeriesRef) bool {
	if p.at >= to {
		return true
	}
	place := uint32(to) - 1
	if p.run.to <= place {
		// Most often it is near: double the step until it is passed, then halve.
		step := 1
		for step < len(p.rest) && p.rest[step-1].to <= place {
			step *= 2
		}
		from, end := step/2, min(step, len(p.rest))
		skip := from + sort.Search(end-from, func(i int) bool { return p.rest[from+i].to > place })
		p.rest = p.rest[skip:]
		p.next()
		if p.run.to <= place { // there was none in rest
			p.next()
		}
	}
	p.run.from = max(p.run.from, min(place, p.run.to))
	return p.Next()
}

// At implements [index.Postings].
func (p *places) At() storage.SeriesRef { return p.at }

// Err implements [index.Postings].
func (p *places) Err() error { return nil }
