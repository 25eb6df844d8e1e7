package replica

import (
	"sync/atomic"
	"time"
)

// endingPatience is how long a log that has ended is waited for if another server may
// have more of it. A request in what is missing here may meanwhile come in another
// log, and would not be recognised as a repeat.
const endingPatience = 30 * time.Second

// ending is what is known of the end of a log. A client's cursor may be beyond all that is
// left of it, if everyone who had the rest has lost it.
type ending struct {
	// since when its forwarder has said so.
	since atomic.Pointer[time.Time]
	// complete says that no other server has more.
	complete atomic.Bool
}

// EndedBy says that the log had ended by a time. The earliest counts.
func (r *Replica) EndedBy(t time.Time) {
	for {
		since := r.ending.since.Load()
		if since != nil && !t.Before(*since) || r.ending.since.CompareAndSwap(since, &t) {
			return
		}
	}
}

// GoesOn says that its forwarder has come, and will write more of it.
func (r *Replica) GoesOn() {
	r.ending.since.Store(nil)
	r.ending.complete.Store(false)
}

// SetComplete says whether the log has ended with what is here, as its forwarder is gone
// and nobody has more. It reports whether that is news.
func (r *Replica) SetComplete(complete bool) (news bool) {
	if complete && r.tail.Load() != r.Log.Last() {
		r.SetTail(r.Log.Last())
	}
	return r.ending.complete.Swap(complete) != complete
}

// EndedForGood says that no more blocks of the log will come.
func (r *Replica) EndedForGood() bool {
	if r.ending.complete.Load() {
		return true
	}
	since := r.ending.since.Load()
	return since != nil && time.Since(*since) > endingPatience && r.tailKnown.Load() && r.Log.Last() >= r.tail.Load()
}
