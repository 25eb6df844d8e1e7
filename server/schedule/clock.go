// Package schedule says when a step is due: by the logs' own time, which every block has
// from its forwarder, and not by this server's.
//
// Guaranteed: time passes only as far as every log that counts has come, so all that a
// step may use is here by then. Not guaranteed: that a log that was silent for so long
// that it was left out brings nothing that an evaluated step would have used.
package schedule

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
)

// polled is how often those who wait look at what changes by itself: a log that is left
// out since it is silent, or has ended for good.
const polled = time.Second

// Clock is the time that the logs of a server have come to.
type Clock struct {
	replicas  *replica.Set
	idleAfter time.Duration
	// settled is when forwarders have had time to come.
	settled time.Time
	// idle are logs that were silent already when this server was started.
	idle map[segment.LogID]bool

	mu      sync.Mutex
	waiters waiters
	// watching says that a goroutine wakes the waiters, and left tells it that there are
	// none any more.
	watching bool
	left     chan struct{}
}

// NewClock returns the clock of logs that were just opened. One that is silent for
// idleAfter does not count until it comes back. There may be logs that this server has not
// heard of: nothing is known before settle has passed, in which their forwarders come.
func NewClock(replicas *replica.Set, idleAfter, settle time.Duration) *Clock {
	c := &Clock{
		replicas: replicas, idleAfter: idleAfter, settled: time.Now().Add(settle),
		idle: map[segment.LogID]bool{}, left: make(chan struct{}, 1),
	}
	newest := int64(math.MinInt64)
	for _, r := range replicas.All() {
		newest = max(newest, r.Time())
	}
	for _, r := range replicas.All() {
		if newest-r.Time() >= idleAfter.Milliseconds() {
			c.idle[r.ID] = true
		}
	}
	return c
}

// Passed is the time (ms) that every log that counts has come to, or, if none counts, the
// latest of all. It is false while that is not known: no log was copied, or one that counts
// has not been copied for the first time, or one that is not known yet may come.
func (c *Clock) Passed() (ms int64, ok bool) {
	if time.Now().Before(c.settled) {
		return 0, false
	}
	slowest, latest := int64(math.MaxInt64), int64(math.MinInt64)
	counted, known := false, false
	for _, r := range c.replicas.All() {
		switch counts, serving := c.counts(r), r.Serving(); {
		case counts && !serving:
			return 0, false
		case counts:
			counted = true
			slowest = min(slowest, r.Time())
		case serving:
			known = true
			latest = max(latest, r.Time())
		}
	}
	if counted {
		return slowest, true
	}
	return latest, known
}

// counts says whether more of a log may come. One that is being copied counts however
// long nothing has come, since it is known that something will.
func (c *Clock) counts(r *replica.Replica) bool {
	if r.EndedForGood() {
		return false
	}
	if r.Connected() && r.Lag() > 0 {
		return true
	}
	came := r.LastReceived()
	if came.IsZero() {
		return !c.idle[r.ID] && time.Since(r.Opened()) < c.idleAfter
	}
	return time.Since(came) < c.idleAfter
}

// Wait waits until a time (ms) has passed.
func (c *Clock) Wait(ctx context.Context, ms int64) error {
	w := &waiter{until: ms, passed: make(chan struct{})}
	if !c.add(w) {
		return context.Cause(ctx)
	}
	select {
	case <-w.passed:
		return nil
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
	updates := c.replicas.Updates.Next()
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
		updates = c.replicas.Updates.Next()
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
