package replica

import (
	"sync/atomic"
	"time"
)

// endingPatience is how long a log that has ended is waited for if another server may
// have more of it. A request in what is missing here may meanwhile come in another
// log, and would not be recognised as a repeat.
const endingPatience = 30 * time.Second

// ending is since when a log is known to have ended. A client's cursor may be beyond
// all that is left of it, if everyone who had the rest has lost it.
type ending struct{ since atomic.Pointer[time.Time] }

// EndedBy says that the log had ended by a time. The earliest counts.
func (r *Replica) EndedBy(t time.Time) {
	for {
		since := r.ending.since.Load()
		if since != nil && !t.Before(*since) || r.ending.since.CompareAndSwap(since, &t) {
			return
		}
	}
}

// EndedForGood says that no more blocks of the log will come.
func (r *Replica) EndedForGood() bool {
	since := r.ending.since.Load()
	return since != nil && time.Since(*since) > endingPatience && r.tailKnown.Load() && r.Log.Last() >= r.tail.Load()
}
