package call

import (
	"math/rand/v2"
	"time"
)

// ageSpread is the part of the longest age by which streams differ, so that those that
// start together, as when a server has died, do not end together.
const ageSpread = 5

// Age is when a stream has to move: it is ended, and resumes at any replica. The zero
// Age is never.
type Age struct{ over time.Time }

// NewAge is that of a stream that has reached the present, and may follow for so long.
// The time before that does not count, so that a stream makes progress at each server,
// however slowly.
func (s *Calls) NewAge() Age { return newAge(s.MaxAge) }

func newAge(longest time.Duration) Age {
	if longest == 0 {
		return Age{}
	}
	return Age{time.Now().Add(longest - rand.N(longest/ageSpread))}
}

// Reached says that the stream has to move.
func (a Age) Reached() bool { return !a.over.IsZero() && !time.Now().Before(a.over) }

// Wait is how long the stream may wait.
func (a Age) Wait(most time.Duration) time.Duration {
	if a.over.IsZero() {
		return most
	}
	return min(most, time.Until(a.over))
}
