package replica

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/index"

	"github.com/promgrpc/exporter/server/selection"
)

// indexView is an index as of one block. What it holds is only ever added to, or
// left behind when labels are renumbered; so values are matched without the lock,
// and it is taken for a moment to copy the heads of lists, whose places from the
// view's end on are left out.
type indexView struct {
	index  *seriesIndex
	refs   []uint64
	lists  []placeList
	values map[string]*labelValues
}

// view returns the index as it is. The caller holds the lock.
func (x *seriesIndex) view() indexView {
	return indexView{index: x, refs: x.refs, lists: x.lists, values: x.values}
}

// valuesOf returns the values of a label name.
func (v *indexView) valuesOf(name string) []labelValue {
	v.index.mu.RLock()
	defer v.index.mu.RUnlock()
	if of := v.values[name]; of != nil {
		return of.all
	}
	return nil
}

// having returns the lists of several values of a label.
func (v *indexView) having(name string, texts ...string) []places {
	v.index.mu.RLock()
	defer v.index.mu.RUnlock()
	of := v.values[name]
	if of == nil {
		return nil
	}
	found := make([]places, 0, len(texts))
	for _, text := range texts {
		if n, ok := of.number[text]; ok && int(n) < len(v.lists) {
			found = append(found, v.clip(v.lists[n]))
		}
	}
	return found
}

// ofNumbers puts the lists of labels into found.
func (v *indexView) ofNumbers(numbers []uint32, found []places) {
	v.index.mu.RLock()
	defer v.index.mu.RUnlock()
	for i, n := range numbers {
		found[i] = v.clip(v.lists[n])
	}
}

// clip leaves out the places that the view does not have.
func (v *indexView) clip(l placeList) places {
	end := uint32(len(v.refs))
	if l.open > 0 && l.open-1 < end {
		return places{rest: l.runs, last: placeRun{l.open - 1, end}}
	}
	n := len(l.runs)
	for n > 0 && l.runs[n-1].from >= end {
		n--
	}
	if n == 0 {
		return places{}
	}
	last := l.runs[n-1]
	return places{rest: l.runs[:n-1], last: placeRun{last.from, min(last.to, end)}}
}

// found are series that a selection matches, by their places in an index.
type found struct {
	refs []uint64 // of the index, by place
	list []uint32 // ascending, as long as there are few
	set  placeSet
}

// lookEvery is after how many series it is seen whether the caller is still there.
const lookEvery = 1024

// few is how many places are kept in a list: as long as that takes no more than
// the set of them would.
func (f *found) few() int { return max(fewAtLeast, len(f.refs)/32) }

const fewAtLeast = 64

// bytes is what the list or the set takes.
func (f *found) bytes() int64 {
	if f == nil {
		return 0
	}
	return int64(4*cap(f.list) + 8*len(f.set))
}

func (f *found) toSet() {
	f.set = newPlaceSet(len(f.refs))
	for _, place := range f.list {
		f.set.set(placeRun{place, place + 1})
	}
	f.list = nil
}

func newPlaceSet(places int) placeSet { return make(placeSet, (places+63)/64) }

// bytes is what a set for that many places takes.
func setBytes(places int) int64 { return int64(places+63) / 64 * 8 }

// each calls yield for the references, ascending, until it returns false.
func (f *found) each(yield func(ref uint64) bool) {
	for _, place := range f.list {
		if !yield(f.refs[place]) {
			return
		}
	}
	for place, ok := f.set.next(0); ok; place, ok = f.set.next(place + 1) {
		if !yield(f.refs[place]) {
			return
		}
	}
}

// finder evaluates a selection on the view of an index.
type finder struct {
	view    indexView
	e       *selection.Evaluation
	size    int64    // of the selection
	scratch placeSet // what one matcher of several matches
}

// find returns the series that a selection matches.
func (v *indexView) find(e *selection.Evaluation, s *selection.Selection) (*found, error) {
	f := finder{view: *v, e: e, size: s.Size}
	all := &found{refs: v.refs, list: make([]uint32, 0, fewAtLeast)}
	if err := e.Grow(3 * setBytes(len(v.refs))); err != nil {
		return nil, err
	}
	if len(s.Selectors) > 1 {
		all.toSet()
	}
	for _, sel := range s.Selectors {
		matched, err := f.forSelector(sel)
		if err != nil {
			return nil, err
		}
		if err := all.add(e.Context(), matched); err != nil {
			return nil, err
		}
	}
	// What is not needed any more is given back.
	return all, e.Grow(all.bytes() - 3*setBytes(len(v.refs)))
}

// add adds places. If there is a list, they are behind those.
func (f *found) add(ctx context.Context, p index.Postings) error {
	few := f.few()
	for n := 0; p.Next(); n++ {
		if n%lookEvery == lookEvery-1 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		place := uint32(p.At()) - 1
		if f.set == nil && len(f.list) == few {
			f.toSet()
		}
		if f.set != nil {
			f.set[place/64] |= 1 << (place % 64)
		} else {
			f.list = append(f.list, place)
		}
	}
	return p.Err()
}

// forSelector intersects the lists of the matchers that want one of few labels,
// takes away those of the matchers that do not, and then looks at the values of
// the others.
func (f *finder) forSelector(s selection.Selector) (index.Postings, error) {
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
		with = append(with, &setPlaces{set: set})
	}
	if len(with) == 0 {
		with = append(with, &places{last: placeRun{0, uint32(len(f.view.refs))}})
	}
	matched := index.Intersect(with...)
	for _, w := range without {
		matched = index.Without(matched, w)
	}
	return matched, nil
}

// merged returns the places that are in any of the lists.
func (f *finder) merged(lists []places) index.Postings {
	if len(lists) == 1 {
		return &lists[0]
	}
	all := make([]index.Postings, len(lists))
	for i := range lists {
		all[i] = &lists[i]
	}
	return index.Merge(f.e.Context(), all...)
}

// scan returns the series that all matchers match whose values have to be looked
// at.
func (f *finder) scan(s selection.Selector) (placeSet, error) {
	var matched placeSet
	end := placeRun{0, uint32(len(f.view.refs))}
	for _, m := range s {
		if len(selection.Wanted(m)) > 0 {
			continue
		}
		first, absent := matched == nil, m.Matches("")
		if first {
			matched = newPlaceSet(len(f.view.refs))
		}
		var err error
		switch {
		case absent:
			if first {
				matched.set(end)
			}
			err = f.eachPlaces(m.Name, func(v string) bool { return !m.Matches(v) }, matched.unset)
		case first:
			err = f.eachPlaces(m.Name, m.Matches, matched.set)
		default:
			err = f.intersect(matched, m)
		}
		if err != nil {
			return nil, err
		}
	}
	return matched, nil
}

// intersect leaves in a set what a matcher matches, too.
func (f *finder) intersect(set placeSet, m *labels.Matcher) error {
	if f.scratch == nil {
		f.scratch = newPlaceSet(len(f.view.refs))
	}
	clear(f.scratch)
	if err := f.eachPlaces(m.Name, m.Matches, f.scratch.set); err != nil {
		return err
	}
	for i := range set {
		set[i] &= f.scratch[i]
	}
	return nil
}

// scanned is how many lists are looked at together.
const scanned = 256

// eachPlaces calls do for the places of the labels whose values match.
func (f *finder) eachPlaces(name string, matches func(string) bool, do func(placeRun)) error {
	var numbers [scanned]uint32
	var lists [scanned]places
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
		if int(v.number) >= len(f.view.lists) {
			break // it came later
		}
		if err := f.e.Step(f.size * int64(1+len(v.text))); err != nil {
			return err
		}
		if !matches(v.text) {
			continue
		}
		if numbers[n] = v.number; n+1 < scanned {
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
