package replica

import (
	"context"
	"sync"

	"github.com/promgrpc/exporter/internal/segment"
)

// feeder is a connection that feeds a replica.
type feeder interface {
	// Interrupt makes it let go.
	Interrupt()
}

// lease sees to it that one connection at a time feeds a replica.
type lease struct {
	mu      sync.Mutex
	current feeder
	busy    chan struct{}
}

func newLease() lease { return lease{busy: make(chan struct{}, 1)} }

// acquire makes c the connection that feeds, interrupts the one before, and waits
// until that one has let go. It reports whether it did before ctx ended.
func (l *lease) acquire(ctx context.Context, c feeder) bool {
	l.mu.Lock()
	if l.current != nil {
		l.current.Interrupt()
	}
	l.current = c
	l.mu.Unlock()
	select {
	case l.busy <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *lease) release(c feeder) {
	l.mu.Lock()
	if l.current == c {
		l.current = nil
	}
	l.mu.Unlock()
	<-l.busy
}

func (l *lease) held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current != nil
}

// Lease returns the replica of a log, which c feeds from now on until it calls release.
func (rs *Set) Lease(ctx context.Context, id segment.LogID, c feeder) (r *Replica, release func(), err error) {
	for {
		r, err := rs.open(id)
		if err != nil {
			return nil, nil, err
		}
		if !r.lease.acquire(ctx, c) {
			return nil, nil, ctx.Err()
		}
		if !r.broken.Load() {
			return r, func() { r.lease.release(c) }, nil
		}
		// It broke while the connection before let go.
		r.lease.release(c)
	}
}
