package postings

import "iter"

// View is an index as of one block. The index only ever grows, until it starts
// over and leaves the view what it was; so ids from the view's end on are what the
// view has to leave out, and values are matched without the lock. It is taken for the
// moment in which the heads of some postings are copied.
type View struct {
	index    *Index
	refs     []uint64
	postings []postings
	values   map[string]*values
}

// View returns the index as it is. The caller holds the lock.
func (x *Index) View() *View {
	return &View{index: x, refs: x.refs, postings: x.postings, values: x.values}
}

// Refs are those of the series, by id. They are not to be changed.
func (v *View) Refs() []uint64 { return v.refs }

// Len implements [Source].
func (v *View) Len() int { return len(v.refs) }

// Values implements [Source].
func (v *View) Values(name string) iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		for _, value := range v.all(name) {
			if int(value.Number) >= len(v.postings) {
				return // it was added after the view was taken
			}
			if !yield(value, nil) {
				return
			}
		}
	}
}

func (v *View) all(name string) []Value {
	v.index.RLock()
	defer v.index.RUnlock()
	if of := v.values[name]; of != nil {
		return of.all
	}
	return nil
}

// Having implements [Source].
func (v *View) Having(name string, texts []string) ([]Runs, error) {
	v.index.RLock()
	defer v.index.RUnlock()
	of := v.values[name]
	if of == nil {
		return nil, nil
	}
	found := make([]Runs, 0, len(texts))
	for _, text := range texts {
		if n, ok := of.number[text]; ok && int(n) < len(v.postings) {
			found = append(found, v.clip(v.postings[n]))
		}
	}
	return found, nil
}

// OfNumbers implements [Source].
func (v *View) OfNumbers(numbers []uint32, found []Runs) error {
	v.index.RLock()
	defer v.index.RUnlock()
	for i, n := range numbers {
		found[i] = v.clip(v.postings[n])
	}
	return nil
}

// clip leaves out the ids that the view does not have.
func (v *View) clip(p postings) Runs {
	end := uint32(v.Len())
	if p.open < end { // and not none
		return Runs{rest: p.closed, last: Run{p.open, end}}
	}
	n := len(p.closed)
	for n > 0 && p.closed[n-1].From >= end {
		n--
	}
	if n == 0 {
		return Runs{}
	}
	last := p.closed[n-1]
	return Runs{rest: p.closed[:n-1], last: Run{last.From, min(last.To, end)}}
}
