package call

import (
	"errors"
	"sync"
	"time"
)

// stall cuts off a client that does not take what is sent to it. The client sees a
// broken stream: a status would have to wait for what it does not take.
//
// What counts is its rate, since a client that takes a message now and then keeps as
// much in memory as one that takes none. Time for which a write is blocked is added to
// a debt; the client is cut off when that reaches the timeout. The debt is paid by the
// bytes that are taken, at the lowest rate that is allowed, and by time in which there
// is nothing to send.
type stall struct {
	timeout time.Duration
	rate    int64 // bytes that pay for a second of debt
	// held is called once a second of a blocked write. Its error says that the stream
	// holds too much. It is set before the first write, if at all.
	held func() error
	// deadline makes a write fail that lasts longer.
	deadline func(time.Time)

	timer *time.Timer

	mu      sync.Mutex
	writing bool
	since   time.Time // the start of the write under way, or the end of the last one
	debt    time.Duration
	err     error // why the client was cut off
}

// errStalled is why a client was cut off that takes too little.
var errStalled = errors.New("the client did not take what was sent to it (--stream.stall-timeout, --stream.min-rate)")

// heldChecked is how often held is called.
const heldChecked = time.Second

func newStall(timeout time.Duration, rate int64, deadline func(time.Time)) *stall {
	s := &stall{timeout: timeout, rate: rate, deadline: deadline, since: time.Now()}
	s.timer = time.AfterFunc(timeout, s.check)
	s.timer.Stop()
	return s
}

// before is called before a write, and after is called with its bytes.
func (s *stall) before() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.debt = max(0, s.debt-now.Sub(s.since))
	s.writing, s.since = true, now
	s.schedule(0)
}

func (s *stall) after(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	now := time.Now()
	s.debt = max(0, s.debt+now.Sub(s.since)-time.Duration(float64(n)/float64(s.rate)*float64(time.Second)))
	s.writing, s.since = false, now
}

// schedule schedules the next check. The lock is held.
func (s *stall) schedule(blocked time.Duration) {
	left := s.timeout - s.debt - blocked
	if s.held != nil {
		left = min(left, heldChecked)
	}
	s.timer.Reset(left)
}

// check cuts the client off if it is time.
func (s *stall) check() {
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
	s.schedule(blocked)
}

// reason is why the client was cut off, nil if it was not.
func (s *stall) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// last leaves the client the rest of its time for the write that ends the call.
func (s *stall) last() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.deadline(time.Now().Add(s.timeout - s.debt))
	}
}
