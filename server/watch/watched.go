package watch

import (
	"errors"
	"iter"
	"slices"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/refset"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// watched is a log, up to where it was looked at, and who is interested in it.
type watched struct {
	replica *replica.Replica
	reader  *seglog.Reader // reads blocks in memory alone
	seen    uint64         // the last block that was looked at
	next    uint64         // the first reference that was not

	interests map[*interest]struct{}
	pages     map[uint64]*page // of the series that are watched
	// byLabel are interests by a label that series have which they want; that of the zero
	// label are those that name none.
	byLabel map[segment.Label][]*interest

	labels segment.Labels
}

// page is who watches which series of one page of references.
type page struct {
	some refset.Page // the keys of by
	by   map[uint64][]*interest
}

// newWatched begins at the present. References below next were given by the block seen,
// or by one that is looked at later. It is nil if the log cannot be read.
func newWatched(r *replica.Replica) *watched {
	seen, next := r.Log.Last(), r.Head.NextRef()
	reader, err := r.Log.ReadAfter(seen)
	if err != nil {
		return nil // The stream that reads the log is told why.
	}
	return &watched{
		replica: r, reader: reader, seen: seen, next: next,
		interests: map[*interest]struct{}{}, pages: map[uint64]*page{}, byLabel: map[segment.Label][]*interest{},
	}
}

func (l *watched) none() bool { return len(l.interests) == 0 }

func (l *watched) join(in *interest) {
	l.interests[in] = struct{}{}
	for label := range in.labels() {
		if list := l.byLabel[label]; !slices.Contains(list, in) {
			l.byLabel[label] = append(list, in)
		}
	}
}

// leave takes an interest out of its log.
func (in *interest) leave() {
	l := in.log
	delete(l.interests, in)
	for label := range in.labels() {
		if l.byLabel[label] = without(l.byLabel[label], in); len(l.byLabel[label]) == 0 {
			delete(l.byLabel, label)
		}
	}
	for _, ref := range in.refs {
		p := l.pages[ref/refset.PageSize]
		if p.by[ref] = without(p.by[ref], in); len(p.by[ref]) == 0 {
			delete(p.by, ref)
			p.some.Remove(ref)
		}
		if len(p.by) == 0 {
			delete(l.pages, ref/refset.PageSize)
		}
	}
}

// without returns a list without one of its members, in another order.
func without(list []*interest, in *interest) []*interest {
	i := slices.Index(list, in)
	if i < 0 {
		return list
	}
	last := len(list) - 1
	list[i], list[last] = list[last], nil
	return list[:last]
}

// labels yields a label for each selector, the zero label if any series may be selected.
func (in *interest) labels() iter.Seq[segment.Label] {
	return func(yield func(segment.Label) bool) {
		selectors := in.watch.selection.Selectors
		if len(selectors) == 0 {
			yield(segment.Label{})
			return
		}
		for _, s := range selectors {
			if !yield(wanted(s)) {
				return
			}
		}
	}
}

// wanted is a label that every series has which a selector selects; the zero label: there
// is none that is sure. The name of the metric is the last choice, since many share it.
func wanted(s selection.Selector) (label segment.Label) {
	for _, m := range s {
		values := selection.Wanted(m)
		if len(values) != 1 || m.Matches("") || !m.Matches(values[0]) {
			continue
		}
		if label.Name == "" || label.Name == "__name__" {
			label = segment.Label{Name: m.Name, Value: values[0]}
		}
	}
	return label
}

// add has an interest woken for a series.
func (l *watched) add(ref uint64, in *interest) {
	p := l.pages[ref/refset.PageSize]
	if p == nil {
		p = &page{by: map[uint64][]*interest{}}
		l.pages[ref/refset.PageSize] = p
	}
	p.by[ref] = append(p.by[ref], in)
	p.some.Add(ref)
}

// match gives the series from one reference up to another to those of the interests that
// want them. It is false if some have been dropped since, so that nobody knows who wants
// them.
func (l *watched) match(from, to uint64, interests iter.Seq[*interest]) bool {
	all := true
	for ref := from; ref < to; ref++ {
		var known bool
		if l.labels, known = l.replica.Head.Labels(ref, l.labels[:0]); !known {
			all = false
			continue
		}
		for in := range interests {
			if in.watch.selection.Matches(l.labels) {
				in.add(ref)
			}
		}
	}
	return all
}

// candidates yields those who may want a series that was just read, some of them twice.
func (l *watched) candidates(yield func(*interest) bool) {
	for i := range len(l.labels) + 1 {
		var label segment.Label
		if i < len(l.labels) {
			label = l.labels[i]
		}
		for _, in := range l.byLabel[label] {
			if !yield(in) {
				return
			}
		}
	}
}

// errNotInMemory is why a block is not looked at.
var errNotInMemory = errors.New("the block is not in memory")

// look looks at the blocks that are new. Whoever shows a block has put its series into the
// head before, so all series of these blocks are below the next reference.
func (l *watched) look() {
	last := l.replica.Log.Last()
	next := l.replica.Head.NextRef()
	if !l.match(l.next, next, l.candidates) {
		l.concernAll()
	}
	l.next = next
	for l.seen < last {
		b, err := l.reader.Next(func() error { return errNotInMemory })
		if b == nil {
			l.passOn(max(last, l.replica.Log.Last()), err)
			return
		}
		l.concern(b)
		l.seen = b.Sequence
	}
}

// passOn leaves the blocks up to one to who is interested in any: they are not in memory,
// are missing, or cannot be read.
func (l *watched) passOn(last uint64, err error) {
	l.concernAll()
	var gap *seglog.GapError
	if errors.As(err, &gap) {
		last = gap.Next - 1
	}
	l.seen = max(l.seen, last)
	l.reader.SkipTo(l.seen)
}

// concernAll wakes everyone for the next block.
func (l *watched) concernAll() {
	for in := range l.interests {
		in.concerns(l.seen + 1)
	}
}

// concern wakes those whom a block concerns.
func (l *watched) concern(b *segment.Block) {
	for part := range b.Samples.Parts() {
		l.concernRange(b.Sequence, part.First, len(part.Values))
	}
	for i := range b.Histograms {
		l.concernRange(b.Sequence, b.Histograms[i].Ref, 1)
	}
	for i := range b.Exemplars {
		l.concernRange(b.Sequence, b.Exemplars[i].Ref, 1)
	}
}

// concernRange does so for n series with consecutive references.
func (l *watched) concernRange(sequence, ref uint64, n int) {
	end := ref + uint64(n)
	if invariant.On {
		invariant.Check(end <= l.next, "block %d has series %d, those below %d are known", sequence, end-1, l.next)
	}
	for ref < end {
		last := min(end, (ref/refset.PageSize+1)*refset.PageSize)
		if p := l.pages[ref/refset.PageSize]; p != nil {
			for ref = p.some.Next(ref, last); ref < last; ref = p.some.Next(ref+1, last) {
				for _, in := range p.by[ref] {
					in.concerns(sequence)
				}
			}
		}
		ref = last
	}
}
