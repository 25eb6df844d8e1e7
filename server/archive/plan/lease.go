package plan

import (
	"strconv"
	"time"
)

// Lease says which of several servers applies the retention of the bucket: who creates the
// lease with the next number, which can be done once. Nobody's clock is compared with
// another's: a lease has expired when a server has known of it for its whole duration and
// there is no other. It is for one goroutine.
type Lease struct {
	duration time.Duration
	number   uint64
	since    time.Time // when it was first known here
}

// NewLease returns one that lasts for a time. Nothing may be done before as long has
// passed: there may be one that is not known yet.
func NewLease(now time.Time, duration time.Duration) *Lease {
	return &Lease{duration: duration, since: now}
}

// Known takes that a lease with a number is there.
func (l *Lease) Known(now time.Time, number uint64) {
	if number > l.number {
		l.number, l.since = number, now
	}
}

// Try returns the number of the lease that may be created now.
func (l *Lease) Try(now time.Time) (number uint64, ok bool) {
	return l.number + 1, now.Sub(l.since) >= l.duration
}

// Holds says whether the lease with a number, whose creation began at a time, is good
// still: for half of its duration, so that it has ended for its holder when it ends for
// others.
func (l *Lease) Holds(now time.Time, number uint64, began time.Time) bool {
	return number == l.number && now.Sub(began) < l.duration/2
}

func formatSequence(n uint64) string { return strconv.FormatUint(n, 10) }

func parseSequence(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	return n, err == nil
}
