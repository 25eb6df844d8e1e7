package schedule

import "container/heap"

// waiter waits for a time to pass.
type waiter struct {
	until  int64 // ms
	passed chan struct{}
	at     int // in the heap; -1: no more
}

// waiters is a heap with the earliest time first.
type waiters []*waiter

func (w *waiters) add(one *waiter) { heap.Push(w, one) }

func (w *waiters) remove(one *waiter) {
	if one.at >= 0 {
		heap.Remove(w, one.at)
	}
}

// wake wakes and removes those whose time has passed.
func (w *waiters) wake(passed int64) {
	for len(*w) > 0 && (*w)[0].until <= passed {
		close(heap.Pop(w).(*waiter).passed)
	}
}

// Len implements [heap.Interface].
func (w waiters) Len() int           { return len(w) }
func (w waiters) Less(i, j int) bool { return w[i].until < w[j].until }
func (w waiters) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].at, w[j].at = i, j
}

// Push implements [heap.Interface].
func (w *waiters) Push(one any) {
	added := one.(*waiter)
	added.at = len(*w)
	*w = append(*w, added)
}

// Pop implements [heap.Interface].
func (w *waiters) Pop() any {
	last := len(*w) - 1
	popped := (*w)[last]
	(*w)[last], *w = nil, (*w)[:last]
	popped.at = -1
	return popped
}
