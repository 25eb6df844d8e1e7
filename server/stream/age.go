package stream

import (
	"math/rand/v2"
	"time"

	"github.com/promgrpc/exporter/server/refusal"
)

// ageSpread is the part of their longest age by which streams differ, so that
// those that begin together, as when a server has died, do not end together.
const ageSpread = 5

// age is when a stream is to move: to be ended, and taken up at any replica. The
// zero age is never.
type age struct{ over time.Time }

// newAge is that of a stream that has come to the present, which may follow for so
// long. What is before that does not count: so each server that a stream is taken up
// at brings it on, however slowly.
func newAge(longest time.Duration) age {
	if longest == 0 {
		return age{}
	}
	return age{time.Now().Add(longest - rand.N(longest/ageSpread))}
}

func (a age) reached() bool { return !a.over.IsZero() && !time.Now().Before(a.over) }

// patience is how long at most the stream may wait.
func (a age) patience(wait time.Duration) time.Duration {
	if a.over.IsZero() {
		return wait
	}
	return min(wait, time.Until(a.over))
}

// endAged ends the stream if it is to move, with a cursor that covers all that it
// was to have by now. What min_interval holds back is waited for, since another
// server would send it again from the first on.
func (st *stream) endAged() error {
	if !st.age.reached() || st.conflate.holds() {
		return nil
	}
	if !st.out.empty() {
		if err := st.send(noEvent); err != nil {
			return err
		}
	}
	return refusal.ErrAged
}
