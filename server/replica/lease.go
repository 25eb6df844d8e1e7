package replica

import (
	"context"
	"sync"
	"time"
)

// Feeder is a connection that feeds a replica.
type Feeder interface {
	// Interrupt makes it release its lease.
	Interrupt()
}

// lease lets one connection at a time feed a replica, the newest.
type lease struct {
	mu      sync.Mutex
	current Feeder
	// completes says that it is a server that feeds a log which no forwarder does.
	completes bool
	left      time.Time // when a forwarder last did, or when it was made
	busy      chan struct{}
}

func newLease() lease { return lease{busy: make(chan struct{}, 1), left: time.Now()} }

// acquire interrupts the holder and waits until it has released the lease. It reports
// whether that was before ctx ended.
func (l *lease) acquire(ctx context.Context, c Feeder) bool {
	l.mu.Lock()
	if l.current != nil {
		l.current.Interrupt()
	}
	l.current, l.completes = c, false
	l.mu.Unlock()
	select {
	case l.busy <- struct{}{}:
		return true
	case <-ctx.Done():
		l.leave(c)
		return false
	}
}

func (l *lease) release(c Feeder) {
	l.leave(c)
	<-l.busy
}

// leave notes that a connection does not feed any more, unless a newer one came.
func (l *lease) leave(c Feeder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != c {
		return
	}
	if l.current = nil; !l.completes {
		l.left = time.Now()
	}
}

// take is acquire for who interrupts nobody and does not wait.
func (l *lease) take(c Feeder, completes bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil {
		return false
	}
	select {
	case l.busy <- struct{}{}:
		l.current, l.completes = c, completes
		return true
	default:
		return false
	}
}

// deadFor says whether nobody has had it for so long.
func (l *lease) deadFor(d time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current == nil && time.Since(l.left) >= d
}

// held says whether a forwarder has it, or a relay's upstream.
func (l *lease) held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current != nil && !l.completes
}
