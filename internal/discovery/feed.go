package discovery

import "sync"

// feed hands the newest set to one reader and never waits for it.
type feed struct {
	mu     sync.Mutex
	closed bool
	ch     chan []Instance
}

func newFeed() *feed { return &feed{ch: make(chan []Instance, 1)} }

// send replaces a set that has not been read yet.
func (f *feed) send(set []Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	select {
	case <-f.ch:
	default:
	}
	f.ch <- set // The buffer is free: only send fills it, and the lock is held.
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.ch)
	}
}
