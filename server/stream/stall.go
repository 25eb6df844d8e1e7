package stream

import (
	"errors"
	"sync"
	"time"
)

// stall cuts off a client that does not take what is sent to it. What it sees then
// is a broken stream: a status would have to wait behind what it does not take.
//
// It is judged by how fast it gets on, since one that takes a message now and then
// keeps as much in memory as one that takes none. The time for which writes are
// blocked is a debt, and at the timeout the client is cut off. What it takes pays
// the debt at the lowest rate that is allowed, and so does the time for which
// nothing waits for it: who is quiet since there is nothing to send is not slow.
type stall struct {
	timeout time.Duration
	rate    int64 // bytes that pay for a second
	// held says, once a second of a blocked write, whether what the stream holds
	// meanwhile is too much. It is set before the first write, if at all.
	held func() error
	// deadline has a write fail that lasts longer.
	deadline func(time.Time)

	timer *time.Timer

	mu      sync.Mutex
	writing bool
	since   time.Time // when the write under way began, or the last one ended
	debt    time.Duration
	err     error // why the client was cut off
}

// errStalled is why a client was cut off that takes too little.
var errStalled = errors.New("the client did not take what was sent to it (--stream.stall-timeout, --stream.min-rate)")

// heldChecked is how often a blocked write is looked at.
const heldChecked = time.Second

func newStall(timeout time.Duration, rate int64, deadline func(time.Time)) *stall {
	s := &stall{timeout: timeout, rate: rate, deadline: deadline, since: time.Now()}
	s.timer = time.AfterFunc(timeout, s.look)
	s.timer.Stop()
	return s
}

// begin is called before a write, and end after it with how many bytes it was.
func (s *stall) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.debt = max(0, s.debt-now.Sub(s.since))
	s.writing, s.since = true, now
	s.wait(0)
}

func (s *stall) end(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	now := time.Now()
	s.debt = max(0, s.debt+now.Sub(s.since)-time.Duration(float64(n)/float64(s.rate)*float64(time.Second)))
	s.writing, s.since = false, now
}

// wait has the write looked at when it is time. The lock is held.
func (s *stall) wait(blocked time.Duration) {
	left := s.timeout - s.debt - blocked
	if s.held != nil {
		left = min(left, heldChecked)
	}
	s.timer.Reset(left)
}

// look cuts the client off if it is time.
func (s *stall) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.writing || s.err != nil {
		return
	}
	blocked := time.Since(s.since)
	switch {
	case s.debt+blocked >= s.timeout:
		s.err = errStalled
	case s.held != nil:
		s.err = s.held()
	}
	if s.err != nil {
		s.deadline(time.Unix(1, 0))
		return
	}
	s.wait(blocked)
}

// reason is why the client was cut off, nil if it was not.
func (s *stall) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// last gives the client what is left of its time for what ends the call.
func (s *stall) last() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.deadline(time.Now().Add(s.timeout - s.debt))
	}
}
