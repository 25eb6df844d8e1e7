package forwarder

import (
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// A log has the time of its forwarder, in each block, and who evaluates something as of a
// time waits until every log has come to it. So that it does while nobody sends, a block
// is appended when none was for a while: without a request, and so without a digest.

// ticks says when that is due.
type ticks struct {
	every time.Duration
	timer *time.Timer // nil if there are none
	due   <-chan time.Time
	last  time.Time // a block was appended
}

func newTicks(every time.Duration) ticks {
	t := ticks{every: every}
	if every > 0 {
		t.timer = time.NewTimer(every)
		t.due = t.timer.C
	}
	return t
}

// appended notes a block.
func (t *ticks) appended(now time.Time) { t.last = now }

// now says whether a block has to be appended, and when to look again.
func (t *ticks) now(now time.Time) bool {
	// A clock that was set back must not stop them.
	if left := t.every - now.Sub(t.last).Abs(); left > 0 {
		t.timer.Reset(left)
		return false
	}
	t.timer.Reset(t.every)
	return true
}

func (t *ticks) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

// tick appends an empty block if none was appended for a while. Nobody waits for it but
// those who answer, who make it durable.
func (a *appender) tick() {
	now := a.now()
	s := a.state
	if !a.ticks.now(now) || s == nil {
		return
	}
	_ = a.appendEmpty(s, now, segment.Placement{}) // If it fails, the log is opened again.
}

// appendEmpty appends a block without a request, with a placement if there is another one.
func (a *appender) appendEmpty(s *state, now time.Time, p segment.Placement) error {
	err := s.rotate(now, a.idle)
	if err == nil {
		err = s.tick(now, p)
	}
	if err != nil {
		a.fail(s, err)
		return a.cause
	}
	a.ticks.appended(now)
	a.in.answers.expect()
	a.in.answers.add(&job{from: s, answer: answer{place: s.end()}})
	return nil
}

// tick appends a block without a request, which says at most who is elected, and a placement.
func (s *state) tick(now time.Time, p segment.Placement) error {
	s.resetBlock()
	s.setTime(now)
	s.block.Elections = s.pairs.due(func(int) error { return nil })
	s.block.Digest, s.block.Verdict, s.block.Placement = digest{}, segment.Verdict{}, p
	return s.write()
}
