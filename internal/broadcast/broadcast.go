// Package broadcast wakes all goroutines that wait for a change.
//
// Guaranteed: a goroutine that gets a channel from Next, then looks, then waits on the
// channel misses no change. Not guaranteed: what has changed, or how often. Several
// changes wake a waiter once.
package broadcast

import "sync"

// Signal wakes any number of waiters at once. The zero Signal is ready, costs nothing
// while nobody waits, and is safe for concurrent use.
type Signal struct {
	mu sync.Mutex
	ch chan struct{} // nil while nobody waits
}

// Next returns a channel that the next call of Wake closes.
func (s *Signal) Next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

// Wake closes the channel of all calls of Next since the last Wake.
func (s *Signal) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
