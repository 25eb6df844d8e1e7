package answer

import (
	"container/heap"
	"maps"
	"slices"
)

// defaultLimit is the limit of a call that asks for none.
const defaultLimit = 10000

// Smallest collects the entries of an answer: those with the smallest keys, as many as
// are allowed and fit. It never holds more than that, however many are added.
type Smallest[T any] struct {
	room    func(bytes int64) error // takes the room of the entries
	most    int
	entries map[string]smallEntry[T]
	keys    keyHeap
	bytes   int
	taken   int64
	// Keys from bar on are left out, if any are.
	bar     string
	omitted bool
}

type smallEntry[T any] struct {
	value T
	bytes int
}

// NewSmallest returns one that has no entries. Zero is the limit of a call that asks for none.
func NewSmallest[T any](limit uint32, room func(bytes int64) error) *Smallest[T] {
	if limit == 0 {
		limit = defaultLimit
	}
	return &Smallest[T]{room: room, most: int(limit), entries: make(map[string]smallEntry[T])}
}

// Add adds an entry of so many bytes of the answer, or replaces the one with its key.
func (s *Smallest[T]) Add(key string, value T, bytes int) error {
	if s.omitted && key >= s.bar {
		return nil
	}
	before, known := s.entries[key]
	s.entries[key] = smallEntry[T]{value, bytes}
	s.bytes += bytes - before.bytes
	if !known {
		heap.Push(&s.keys, key)
	}
	for len(s.keys) > s.most || s.bytes > Size {
		s.bar, s.omitted = heap.Pop(&s.keys).(string), true
		s.bytes -= s.entries[s.bar].bytes
		delete(s.entries, s.bar)
	}
	return s.takeRoom()
}

// takeRoom takes the room in steps, since it is called for each entry.
func (s *Smallest[T]) takeRoom() error {
	need := int64(len(s.keys))*EntryCost + int64(s.bytes)*Cost
	if need <= s.taken {
		return nil
	}
	const step = 64 << 10
	s.taken = (need + step - 1) / step * step
	return s.room(s.taken)
}

// Sorted returns the entries by key, and whether others were left out.
func (s *Smallest[T]) Sorted() (keys []string, values []T, truncated bool) {
	keys = slices.Sorted(maps.Keys(s.entries))
	for _, key := range keys {
		values = append(values, s.entries[key].value)
	}
	return keys, values, s.omitted
}

// keyHeap has the largest key first.
type keyHeap []string

func (k keyHeap) Len() int           { return len(k) }
func (k keyHeap) Less(i, j int) bool { return k[i] > k[j] }
func (k keyHeap) Swap(i, j int)      { k[i], k[j] = k[j], k[i] }
func (k *keyHeap) Push(key any)      { *k = append(*k, key.(string)) }
func (k *keyHeap) Pop() any {
	last := len(*k) - 1
	key := (*k)[last]
	*k = (*k)[:last]
	return key
}
