// Package backoff says how long to wait before what failed is tried again.
//
// Pauses double from a minimum up to a maximum, and each is drawn at random from the
// upper half of that: so none is longer than the maximum, none is near zero, and many
// that lost the same peer at once do not all come back at once. There is no state: the
// caller counts the failures, and decides what resets the count.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Pause after so many failures before this one: about least after the first, doubled
// with each further one, and never more than most.
func Pause(least, most time.Duration, failures int) time.Duration {
	return Jitter(doubled(least, most, failures))
}

// doubled doubles least so many times, up to most, without overflow.
func doubled(least, most time.Duration, times int) time.Duration {
	for ; times > 0 && 0 < least && least < most; times-- {
		if least > most/2 {
			return most
		}
		least *= 2
	}
	return min(least, most)
}

// Jitter draws from d/2 to d.
func Jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d - rand.N(d/2+1)
}

// Later draws from d to d and a half, for who was asked not to come before d.
func Later(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d + rand.N(d/2+1)
}

// Sleep waits for d. It returns the cause if ctx ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
