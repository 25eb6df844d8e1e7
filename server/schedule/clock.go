// Package schedule says when a step is due: by the logs' own time, which every block has
// from its forwarder, and not by this server's.
//
// Guaranteed: time passes only as far as every log that counts has come, so all that a
// step may use is there by then. Not guaranteed: that a log that was silent for so long
// that it was left out brings nothing that an evaluated step would have used.
package schedule

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

// polled is how often those who wait look at what changes by itself: a log that is left
// out since it is silent, or has ended for good.
const polled = time.Second

// Source is what a clock goes by: [Logs] for those of a server. It is safe for concurrent
// use.
type Source interface {
	// Passed is the time (ms) that all has come to. It is false while that is not known.
	Passed() (ms int64, ok bool)
	// Began is the time before which nothing was appended to what is retained.
	Began() int64
	// Lost is the time up to which a part is not retained any more, math.MinInt64 if all is
	// there.
	Lost() int64
	// Changed returns a channel that is closed once any of this may have changed.
	Changed() <-chan struct{}
	// Away names the groups of which nothing can be read, since none of their servers
	// answers.
	Away() (groups []string)
	// HeldBy names the groups that hold time back: those that are away, and those that are
	// silent. It returns a channel that is closed when it is others; nil: it never is.
	HeldBy() (groups []string, changed <-chan struct{})
}

// Clock has others wait for the time of a source.
type Clock struct {
	Source

	mu      sync.Mutex
	waiters waiters
	// watching says that a goroutine wakes the waiters, and left tells it that there are
	// none any more.
	watching bool
	left     chan struct{}
}

// NewClock returns a clock that goes by a source.
func NewClock(from Source) *Clock { return &Clock{Source: from, left: make(chan struct{}, 1)} }

// Wait waits until a time (ms) has passed.
func (c *Clock) Wait(ctx context.Context, ms int64) error { return c.waitUnless(ctx, ms, nil) }

// errChanged is of a wait that a channel has ended.
var errChanged = errors.New("something has changed")

// waitUnless is Wait, which ends with errChanged once a channel is closed.
func (c *Clock) waitUnless(ctx context.Context, ms int64, changed <-chan struct{}) error {
	w := &waiter{until: ms, passed: make(chan struct{})}
	if !c.add(w) {
		return context.Cause(ctx)
	}
	select {
	case <-w.passed:
		return nil
	case <-changed:
		c.leave(w)
		return errChanged
	case <-ctx.Done():
		c.leave(w)
		return context.Cause(ctx)
	}
}

// Reach is Wait for no longer than most, and fails with the error late after that.
func (c *Clock) Reach(ctx context.Context, ms int64, most time.Duration, late error) error {
	timed, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if err := c.Wait(timed, ms); err == nil || ctx.Err() != nil {
		return err
	}
	return late
}

func (c *Clock) has(ms int64) bool {
	passed, ok := c.Passed()
	return ok && passed >= ms
}

// add adds a waiter, unless its time has passed.
func (c *Clock) add(w *waiter) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Whatever comes after this look wakes who watches.
	updates := c.Changed()
	if c.has(w.until) {
		return false
	}
	c.waiters.add(w)
	if !c.watching {
		c.watching = true
		go c.watch(updates)
	}
	return true
}

func (c *Clock) leave(w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiters.remove(w)
	if len(c.waiters) == 0 {
		select {
		case c.left <- struct{}{}:
		default:
		}
	}
}

// watch wakes waiters until there are none. One goroutine does it for all.
func (c *Clock) watch(updates <-chan struct{}) {
	tick := time.NewTicker(polled)
	defer tick.Stop()
	for {
		select {
		case <-updates:
		case <-tick.C:
		case <-c.left:
		}
		updates = c.Changed()
		if c.wake() {
			return
		}
	}
}

// wake wakes those whose time has passed, and says whether nobody is left.
func (c *Clock) wake() (done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if passed, ok := c.Passed(); ok {
		c.waiters.wake(passed)
	}
	c.watching = len(c.waiters) > 0
	return !c.watching
}

// Retained is the time from which on a step with a delay (ms) can be gone on from: before
// it, a part of a log is not there any more, or nothing was.
func (c *Clock) Retained(delay int64) int64 {
	began := c.Began()
	if began == math.MaxInt64 {
		return c.Lost()
	}
	return max(c.Lost(), began-delay)
}

// Align returns the first whole multiple of a step at or after a time, both in ms.
func Align(ms, step int64) int64 {
	over := ms % step
	if over == 0 {
		return ms
	}
	if over < 0 {
		return ms - over
	}
	return ms - over + step
}
