package postings

import (
	"context"
	"slices"

	"github.com/prometheus/prometheus/tsdb/index"
)

// Matches are the series that a selection matches, by their ids: a list while there are
// few, a set of bits otherwise.
type Matches struct {
	len  int      // of the index
	list []uint32 // ascending
	set  Set      // nil while there is the list
}

// checkEvery is how many series pass before it is checked that the caller is still
// there.
const checkEvery = 1024

const leastFew = 64

// few is how many ids the list has at most: as long as it is no larger than the set.
func (m *Matches) few() int { return max(leastFew, m.len/32) }

// Bytes is the size of the list or of the set.
func (m *Matches) Bytes() int64 {
	if m == nil {
		return 0
	}
	return int64(4*cap(m.list) + 8*len(m.set))
}

func (m *Matches) toSet() {
	m.set = newSet(m.len)
	for _, id := range m.list {
		m.set.add(Run{id, id + 1})
	}
	m.list = nil
}

// add adds postings. While there is a list, they come after it.
func (m *Matches) add(ctx context.Context, p index.Postings) error {
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

// Each calls yield for the ids, ascending, until it returns false.
func (m *Matches) Each(yield func(id uint32) bool) {
	for _, id := range m.list {
		if !yield(id) {
			return
		}
	}
	for id, ok := m.set.next(0); ok; id, ok = m.set.next(id + 1) {
		if !yield(id) {
			return
		}
	}
}

// Next returns the first id from one on.
func (m *Matches) Next(from uint32) (id uint32, ok bool) {
	if m.set != nil {
		return m.set.next(from)
	}
	i, _ := slices.BinarySearch(m.list, from)
	if i == len(m.list) {
		return 0, false
	}
	return m.list[i], true
}
