// Package assign says which forwarder a sender's requests go to.
//
// Guaranteed: what comes out depends on the arguments alone: there is no clock, no
// goroutine and no network here. A sender goes to the same forwarder for as long as the
// same ones are fit for it, and all who know them by the same names choose alike. When one
// of n comes or goes, one sender in n moves, to it or from it.
//
// Not guaranteed: that the forwarders have the same load. Each gets its share of the
// senders, large or small.
package assign

import (
	"time"

	"github.com/cespare/xxhash/v2"
)

const (
	// SettleTime is how long a forwarder has to be connected that was lost before it
	// gets its senders back.
	SettleTime = 15 * time.Second
	// AvoidTime is for how long a forwarder is avoided that failed. It doubles with each
	// failure after that, up to longestAvoid.
	AvoidTime    = 15 * time.Second
	longestAvoid = 4 * time.Minute
	// UnconfirmedTime is for how long a forwarder is known to have said that too few
	// servers confirm. It is longer than a sender that is answered so takes to come again,
	// so that those of which all said it keep their senders.
	UnconfirmedTime = time.Minute
)

// Sender is whose requests belong together.
type Sender uint64

// SenderOf returns the sender of a name, as of its tenant, at an address.
func SenderOf(name, address string) Sender {
	return Sender(mix(xxhash.Sum64String(name)) ^ xxhash.Sum64String(address))
}

// Outcome is what became of a request at a forwarder.
type Outcome int

// The outcomes. What says nothing of the forwarder, as that a sender went away, is none
// of them.
const (
	// Taken requests have a verdict that stays, whatever it is.
	Taken Outcome = iota
	// Unconfirmed ones are stored at the forwarder, and not on as many servers as have
	// to have them.
	Unconfirmed
	// Failed ones were refused for now, not answered in time, or lost.
	Failed
)

// Forwarder is what is known of one. [New] makes it.
type Forwarder struct {
	hash      uint64
	connected bool
	met       bool      // has been connected before
	back      bool      // this is not the first connection
	since     time.Time // of the connection
	avoided   time.Time // until then
	failures  int       // in a row
	// unconfirmed is until when it counts that servers did not confirm.
	unconfirmed time.Time
}

// New returns a forwarder that is not connected. Its name decides which senders are its
// own.
func New(name string) Forwarder { return Forwarder{hash: xxhash.Sum64String(name)} }

// Connected notes a connection.
func (f *Forwarder) Connected(now time.Time) {
	f.back, f.met = f.met, true
	f.connected, f.since = true, now
}

// Lost notes that there is none.
func (f *Forwarder) Lost() { f.connected = false }

// Answered notes what became of a request, and says whether that is news: the forwarder is
// less fit than it was.
func (f *Forwarder) Answered(o Outcome, now time.Time) (news bool) {
	switch o {
	case Taken:
		f.failures, f.unconfirmed = 0, time.Time{}
		return false
	case Unconfirmed:
		news = !now.Before(f.unconfirmed)
		f.unconfirmed = now.Add(UnconfirmedTime)
		return news
	}
	if now.Before(f.avoided) {
		return false // It was under way with the one that counted.
	}
	f.avoided = now.Add(min(AvoidTime<<min(f.failures, 16), longestAvoid))
	f.failures++
	return true
}

// The ways in which a forwarder may not be fit, from the least to the worst.
const (
	fit = iota
	settling
	unconfirmed
	avoided
	unconnected
)

// Choose returns which of the forwarders a sender goes to, -1 if none is connected: of the
// fittest the one whose own the sender is.
func Choose(s Sender, all []Forwarder, now time.Time) int {
	oldest := now
	for i := range all {
		if f := &all[i]; f.connected && f.since.Before(oldest) {
			oldest = f.since
		}
	}
	chosen, best, highest := -1, unconnected, uint64(0)
	for i := range all {
		how, score := all[i].fitness(oldest, now), all[i].score(s)
		if how < best || how == best && how != unconnected && score > highest {
			chosen, best, highest = i, how, score
		}
	}
	return chosen
}

// Own returns which of the forwarders a sender would go to if all were fit, -1 if there are
// none.
func Own(s Sender, all []Forwarder) int {
	own := -1
	for i := range all {
		if own < 0 || all[i].score(s) > all[own].score(s) {
			own = i
		}
	}
	return own
}

func (f *Forwarder) score(s Sender) uint64 { return mix(f.hash ^ mix(uint64(s))) }

// fitness says how fit a forwarder is. The oldest connection is since when any forwarder
// has been connected: those that come back together, after an interruption here, serve at
// once.
func (f *Forwarder) fitness(oldest, now time.Time) int {
	switch {
	case !f.connected:
		return unconnected
	case now.Before(f.avoided):
		return avoided
	case now.Before(f.unconfirmed):
		return unconfirmed
	case f.back && now.Sub(f.since) < SettleTime && f.since.Sub(oldest) >= SettleTime:
		return settling
	}
	return fit
}

// mix spreads the bits of a number: it is splitmix64's.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
