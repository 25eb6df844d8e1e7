package server

import (
	"sync/atomic"
	"time"
)

// endingPatience is for how long a server which has more of a log that has ended is
// waited for. Until it comes, a request that is in what is missing here may come
// in another log, and would not be recognised.
const endingPatience = 30 * time.Second

// ending is since when a log is known to have ended. A client's cursor may be ahead
// of all that is left of it, if all who had the rest have lost it.
type ending struct {
	since atomic.Int64 // as sinceEpoch has it, 0: it has not
}

// note takes in what a forwarder says.
func (e *ending) note(ended bool) {
	if ended {
		e.since.CompareAndSwap(0, sinceEpoch())
	}
}

// forGood says that nothing more is to be expected of a replica's log.
func (e *ending) forGood(r *replica) bool {
	since := e.since.Load()
	return since != 0 && sinceEpoch()-since > int64(endingPatience) && r.told.Load() && r.log.Last() >= r.tail.Load()
}
