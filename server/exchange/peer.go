package exchange

import (
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// peer is another server.
type peer struct {
	self     bool // it is none
	logs     map[segment.LogID]*theirs
	asking   bool
	tried    bool // it was asked once, and that is over
	fetching bool
	asked    time.Time // when the last question was sent
	answer   time.Time // when that was sent which was last answered
	heard    time.Time // when an answer last came, or when it became known
	next     time.Time // not to be asked before that
	pause    time.Duration
	// clean is the question since which all answers said that the peer has no more of a
	// log than this server, and that no forwarder feeds it there.
	clean map[segment.LogID]time.Time
}

func newPeer(now time.Time) *peer {
	return &peer{heard: now, next: now, pause: leastPause}
}

// answered notes an answer.
func (p *peer) answered(now time.Time) {
	p.asking, p.tried, p.answer, p.heard = false, true, p.asked, now
}

// lost says whether the peer has not answered for so long that nobody waits for it.
func (p *peer) lost(now time.Time) bool { return now.Sub(p.heard) >= GiveUpTime }

// hurry has it asked by a time, and then often.
func (p *peer) hurry(by time.Time) {
	if p.self {
		return
	}
	p.pause = leastPause
	if p.next.After(by) {
		p.next = by
	}
}

// pauseFrom puts off the next question, the longer the less is new.
func (p *peer) pauseFrom(now time.Time, news bool) {
	p.pause = min(p.pause*3/2, mostPause)
	if news {
		p.pause = leastPause
	}
	p.next = now.Add(p.pause)
}

// theirs is what a peer has of a log, and what came of asking for that.
type theirs struct {
	Log
	began    uint64    // the last block here when it was last fetched
	vain     int       // how often in a row nothing came
	failed   int       // how often in a row something went wrong
	diverged bool      // it is another log under the same id
	held     time.Time // not to be fetched before that
}

// believed says whether it counts that the peer has more than this server.
func (t *theirs) believed() bool { return !t.diverged && t.vain < mostVain }

// tried notes how a fetch ended, and whether blocks came.
func (t *theirs) tried(o Outcome, came bool, now time.Time) {
	if came {
		t.vain, t.failed, t.diverged = 0, 0, false
	}
	switch {
	case o == Diverged:
		t.diverged = true
		t.held = now.Add(mostHeld)
	case o == Taken:
		t.held = now.Add(leastPause)
	case o == Refused:
		t.held = now.Add(mostHeld)
	case o == Failed:
		t.failed++
		t.held = now.Add(pauseAfter(t.failed))
	case !came:
		t.vain++
		t.held = now.Add(pauseAfter(t.vain))
	}
}

// pauseAfter is that after so many attempts.
func pauseAfter(attempts int) time.Duration {
	return min(leastPause<<min(attempts, 16), mostHeld)
}
