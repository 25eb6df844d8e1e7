package replica

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/promgrpc/exporter/server/selection"
)

// finder evaluates a selection on a view of the index.
//
// A matcher that wants one of a few values, or none of them, costs the lookup of
// their postings; these are intersected and subtracted as Prometheus does it. For a
// matcher whose values have to be tried one by one, the ids of those that match are
// collected as a set of bits first, which then is one more operand.
type finder struct {
	view    indexView
	e       *selection.Evaluation
	size    int64                // of the selection
	scratch idSet                // what one matcher of several matches
	allowed *selection.Selection // what the caller may see; nil: all
	visible idSet                // those series, once values were tried for them
}

// find returns the series that a selection matches.
func (v *indexView) find(e *selection.Evaluation, s *selection.Selection) (*matches, error) {
	f := finder{view: *v, e: e, size: s.Size, allowed: s.Allowed}
	all := &matches{refs: v.refs, list: make([]uint32, 0, leastFew)}
	most := 3 * idSetBytes(len(v.refs)) // the matches, a selector's, and a matcher's
	if s.Allowed != nil {
		most += idSetBytes(len(v.refs)) // what is visible
	}
	if err := e.Grow(most); err != nil {
		return nil, err
	}
	selectors := s.Selectors
	if len(selectors) == 0 {
		selectors, f.allowed = s.Allowed.Selectors, nil
	}
	if len(selectors) > 1 {
		all.toSet()
	}
	for _, sel := range selectors {
		matched, err := f.bySelector(sel)
		if err == nil && f.allowed != nil {
			matched, err = f.visibleOf(matched)
		}
		if err != nil {
			return nil, err
		}
		if err := all.add(e.Context(), matched); err != nil {
			return nil, err
		}
	}
	return all, e.Grow(all.bytes() - most) // which gives back the rest
}

// visibleOf returns those of some series that the caller may see.
func (f *finder) visibleOf(matched index.Postings) (index.Postings, error) {
	if f.allowed.Scans {
		if err := f.findVisible(); err != nil {
			return nil, err
		}
		return index.Intersect(matched, &setPostings{set: f.visible}), nil
	}
	visible := make([]index.Postings, len(f.allowed.Selectors))
	for i, sel := range f.allowed.Selectors {
		var err error
		if visible[i], err = f.bySelector(sel); err != nil {
			return nil, err
		}
	}
	return index.Intersect(matched, index.Merge(f.e.Context(), visible...)), nil
}

// findVisible tries values once for all selectors of the request.
func (f *finder) findVisible() error {
	if f.visible != nil {
		return nil
	}
	f.visible = newIDSet(len(f.view.refs))
	for _, sel := range f.allowed.Selectors {
		p, err := f.bySelector(sel)
		if err != nil {
			return err
		}
		for p.Next() {
			id := idOf(p.At())
			f.visible.add(run{id, id + 1})
		}
		if err := p.Err(); err != nil {
			return err
		}
	}
	return nil
}

// bySelector returns the series that a selector matches.
func (f *finder) bySelector(s selection.Selector) (index.Postings, error) {
	var with, without []index.Postings
	scans := false
	for _, m := range s {
		switch texts := selection.Wanted(m); {
		case len(texts) == 0:
			scans = true
		case m.Matches(""):
			without = append(without, f.merged(f.view.having(m.Name, texts...)))
		default:
			lists := f.view.having(m.Name, texts...)
			if len(lists) == 0 {
				return index.EmptyPostings(), nil
			}
			with = append(with, f.merged(lists))
		}
	}
	if scans {
		set, err := f.scan(s)
		if err != nil {
			return nil, err
		}
		with = append(with, &setPostings{set: set})
	}
	if len(with) == 0 {
		with = append(with, &runPostings{last: run{0, f.view.end()}})
	}
	matched := index.Intersect(with...)
	for _, w := range without {
		matched = index.Without(matched, w)
	}
	return matched, nil
}

// merged returns the ids that are in any of the lists.
func (f *finder) merged(lists []runPostings) index.Postings {
	if len(lists) == 1 {
		return &lists[0]
	}
	all := make([]index.Postings, len(lists))
	for i := range lists {
		all[i] = &lists[i]
	}
	return index.Merge(f.e.Context(), all...)
}

// scan returns the series that match all matchers of a selector whose values have to
// be tried one by one.
func (f *finder) scan(s selection.Selector) (idSet, error) {
	var matched idSet
	for _, m := range s {
		if len(selection.Wanted(m)) > 0 {
			continue
		}
		first, absent := matched == nil, m.Matches("")
		if first {
			matched = newIDSet(len(f.view.refs))
		}
		var err error
		switch {
		case absent:
			if first {
				matched.add(run{0, f.view.end()})
			}
			err = f.eachRun(m.Name, func(v string) bool { return !m.Matches(v) }, matched.remove)
		case first:
			err = f.eachRun(m.Name, m.Matches, matched.add)
		default:
			err = f.intersect(matched, m)
		}
		if err != nil {
			return nil, err
		}
	}
	return matched, nil
}

// intersect removes from a set what a matcher does not match.
func (f *finder) intersect(set idSet, m *labels.Matcher) error {
	if f.scratch == nil {
		f.scratch = newIDSet(len(f.view.refs))
	}
	clear(f.scratch)
	if err := f.eachRun(m.Name, m.Matches, f.scratch.add); err != nil {
		return err
	}
	for i := range set {
		set[i] &= f.scratch[i]
	}
	return nil
}

// batch is how many postings are copied while the lock is held once.
const batch = 256

// eachRun calls do for the runs of the labels whose values match.
func (f *finder) eachRun(name string, matches func(string) bool, do func(run)) error {
	var numbers [batch]uint32
	var lists [batch]runPostings
	n := 0
	flush := func() error {
		f.view.ofNumbers(numbers[:n], lists[:n])
		for i := range lists[:n] {
			l := &lists[i]
			if err := f.e.Step(int64(len(l.rest)) + 1); err != nil {
				return err
			}
			for _, r := range l.rest {
				do(r)
			}
			do(l.last)
		}
		n = 0
		return nil
	}
	for _, v := range f.view.valuesOf(name) {
		if int(v.number) >= len(f.view.postings) {
			break // it was added after the view was taken
		}
		if err := f.e.Step(f.size * int64(1+len(v.text))); err != nil {
			return err
		}
		if !matches(v.text) {
			continue
		}
		if numbers[n] = v.number; n+1 < batch {
			n++
			continue
		}
		n++
		if err := flush(); err != nil {
			return err
		}
	}
	return flush()
}
