package replica

// indexView is an index as of one block. The index only ever grows, until it starts
// over and leaves the view what it was; so ids from the view's end on are what the
// view has to leave out, and values are matched without the lock. It is taken for the
// moment in which the heads of some postings are copied.
type indexView struct {
	index    *seriesIndex
	refs     []uint64
	postings []postings
	values   map[string]*labelValues
}

// view returns the index as it is. The caller holds the lock.
func (x *seriesIndex) view() indexView {
	return indexView{index: x, refs: x.refs, postings: x.postings, values: x.values}
}

// end is the first id that the view does not have.
func (v *indexView) end() uint32 { return uint32(len(v.refs)) }

// valuesOf returns the values of a label name.
func (v *indexView) valuesOf(name string) []labelValue {
	v.index.mu.RLock()
	defer v.index.mu.RUnlock()
	if of := v.values[name]; of != nil {
		return of.all
	}
	return nil
}

// having returns the postings of several values of a label name.
func (v *indexView) having(name string, texts ...string) []runPostings {
	v.index.mu.RLock()
	defer v.index.mu.RUnlock()
	of := v.values[name]
	if of == nil {
		return nil
	}
	found := make([]runPostings, 0, len(texts))
	for _, text := range texts {
		if n, ok := of.number[text]; ok && int(n) < len(v.postings) {
			found = append(found, v.clip(v.postings[n]))
		}
	}
	return found
}

// ofNumbers puts the postings of labels into found.
func (v *indexView) ofNumbers(numbers []uint32, found []runPostings) {
	v.index.mu.RLock()
	defer v.index.mu.RUnlock()
	for i, n := range numbers {
		found[i] = v.clip(v.postings[n])
	}
}

// clip leaves out the ids that the view does not have.
func (v *indexView) clip(p postings) runPostings {
	end := v.end()
	if p.open < end { // and not none
		return runPostings{rest: p.closed, last: run{p.open, end}}
	}
	n := len(p.closed)
	for n > 0 && p.closed[n-1].from >= end {
		n--
	}
	if n == 0 {
		return runPostings{}
	}
	last := p.closed[n-1]
	return runPostings{rest: p.closed[:n-1], last: run{last.from, min(last.to, end)}}
}
