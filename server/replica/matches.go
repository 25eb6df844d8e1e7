package replica

import (
	"context"

	"github.com/prometheus/prometheus/tsdb/index"
)

// matches are the series that a selection matches, by their ids in an index: a list
// while there are few, a set of bits otherwise.
type matches struct {
	refs []uint64 // of the index, by id
	list []uint32 // ascending
	set  idSet    // nil while there is the list
}

// checkEvery is how many series pass before it is checked that the caller is still
// there.
const checkEvery = 1024

const leastFew = 64

// few is how many ids the list has at most: as long as it is no larger than the set.
func (m *matches) few() int { return max(leastFew, len(m.refs)/32) }

// bytes is the size of the list or of the set.
func (m *matches) bytes() int64 {
	if m == nil {
		return 0
	}
	return int64(4*cap(m.list) + 8*len(m.set))
}

func (m *matches) toSet() {
	m.set = newIDSet(len(m.refs))
	for _, id := range m.list {
		m.set.add(run{id, id + 1})
	}
	m.list = nil
}

// add adds postings. While there is a list, they come after it.
func (m *matches) add(ctx context.Context, p index.Postings) error {
	few := m.few()
	for n := 0; p.Next(); n++ {
		if n%checkEvery == checkEvery-1 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		id := idOf(p.At())
		if m.set == nil && len(m.list) == few {
			m.toSet()
		}
		if m.set != nil {
			m.set[id/64] |= 1 << (id % 64)
		} else {
			m.list = append(m.list, id)
		}
	}
	return p.Err()
}

// each calls yield for the refs, ascending, until it returns false.
func (m *matches) each(yield func(ref uint64) bool) {
	for _, id := range m.list {
		if !yield(m.refs[id]) {
			return
		}
	}
	for id, ok := m.set.next(0); ok; id, ok = m.set.next(id + 1) {
		if !yield(m.refs[id]) {
			return
		}
	}
}
