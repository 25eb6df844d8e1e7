// Package broadcast wakes everybody who waits for a change.
//
// It guarantees that who asks for a channel first, looks second and waits last
// misses no change. It does not say what has changed, nor how often: several changes
// wake a waiter once.
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

// Wake wakes those who wait. Those who come later wait for the next call.
func (s *Signal) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
