package replica

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
type ending struct{ since atomic.Pointer[time.Time] }

// EndedBy notes that the log had ended at a time. The earliest counts.
func (r *Replica) EndedBy(t time.Time) {
	for {
		since := r.ending.since.Load()
		if since != nil && !t.Before(*since) || r.ending.since.CompareAndSwap(since, &t) {
			return
		}
	}
}

// EndedForGood says that nothing more is to be expected of the log.
func (r *Replica) EndedForGood() bool {
	since := r.ending.since.Load()
	return since != nil && time.Since(*since) > endingPatience && r.told.Load() && r.Log.Last() >= r.tail.Load()
}
