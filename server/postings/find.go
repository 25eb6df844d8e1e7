package postings

import (
	"iter"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/promgrpc/exporter/server/selection"
)

// Source is where postings are looked up. What it returns is as of one moment.
type Source interface {
	// Len is how many series there are. Their ids are those below it.
	Len() int
	// Having returns the postings of those of several values of a label name that there
	// are.
	Having(name string, values []string) ([]Runs, error)
	// Values yields the values of a label name, and the numbers of these labels, until
	// an error.
	Values(name string) iter.Seq2[Value, error]
	// OfNumbers puts the postings of labels into found.
	OfNumbers(numbers []uint32, found []Runs) error
}

// Value is one of a label name.
type Value struct {
	Text   string
	Number uint32 // of the label
}

// finder evaluates a selection on a source.
//
// A matcher that wants one of a few values, or none of them, costs the lookup of
// their postings; these are intersected and subtracted as Prometheus does it. For a
// matcher whose values have to be tried one by one, the ids of those that match are
// collected as a set of bits first, which then is one more operand.
type finder struct {
	from    Source
	len     int // of the source
	e       *selection.Evaluation
	size    int64                // of the selection
	scratch Set                  // what one matcher of several matches
	allowed *selection.Selection // what the caller may see; nil: all
	visible Set                  // those series, once values were tried for them
}

// Find returns the series that a selection matches, which takes room until the
// evaluation ends.
func Find(e *selection.Evaluation, from Source, s *selection.Selection) (*Matches, error) {
	f := finder{from: from, len: from.Len(), e: e, size: s.Size, allowed: s.Allowed}
	all := &Matches{len: f.len, list: make([]uint32, 0, leastFew)}
	most := 3 * setBytes(f.len) // the matches, a selector's, and a matcher's
	if s.Allowed != nil {
		most += setBytes(f.len) // what is visible
	}
	if err := e.Grow(most); err != nil {
		return nil, err
	}
	if s.All() {
		all.toSet()
		all.set.add(Run{0, uint32(f.len)})
		return all, e.Grow(all.Bytes() - most)
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
	return all, e.Grow(all.Bytes() - most) // which gives back the rest
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
	f.visible = newSet(f.len)
	for _, sel := range f.allowed.Selectors {
		p, err := f.bySelector(sel)
		if err != nil {
			return err
		}
		for p.Next() {
			id := idOf(p.At())
			f.visible.add(Run{id, id + 1})
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
		texts := selection.Wanted(m)
		if len(texts) == 0 {
			scans = true
			continue
		}
		lists, err := f.from.Having(m.Name, texts)
		switch {
		case err != nil:
			return nil, err
		case m.Matches(""):
			without = append(without, f.merged(lists))
		case len(lists) == 0:
			return index.EmptyPostings(), nil
		default:
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
		with = append(with, &Runs{last: Run{0, uint32(f.len)}})
	}
	matched := index.Intersect(with...)
	for _, w := range without {
		matched = index.Without(matched, w)
	}
	return matched, nil
}

// merged returns the ids that are in any of the lists.
func (f *finder) merged(lists []Runs) index.Postings {
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
func (f *finder) scan(s selection.Selector) (Set, error) {
	var matched Set
	for _, m := range s {
		if len(selection.Wanted(m)) > 0 {
			continue
		}
		first, absent := matched == nil, m.Matches("")
		if first {
			matched = newSet(f.len)
		}
		var err error
		switch {
		case absent:
			if first {
				matched.add(Run{0, uint32(f.len)})
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
func (f *finder) intersect(set Set, m *labels.Matcher) error {
	if f.scratch == nil {
		f.scratch = newSet(f.len)
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
func (f *finder) eachRun(name string, matches func(string) bool, do func(Run)) error {
	var numbers [batch]uint32
	var lists [batch]Runs
	n := 0
	flush := func() error {
		if err := f.from.OfNumbers(numbers[:n], lists[:n]); err != nil {
			return err
		}
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
	for v, err := range f.from.Values(name) {
		if err != nil {
			return err
		}
		if err := f.e.Step(f.size * int64(1+len(v.Text))); err != nil {
			return err
		}
		if !matches(v.Text) {
			continue
		}
		if numbers[n] = v.Number; n+1 < batch {
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
