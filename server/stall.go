package server

import (
	"net/http"
	"sync/atomic"
	"time"
)

// stall cuts off a client that takes nothing for a while. What it sees then is a
// broken stream: a status would have to wait behind what it does not take.
type stall struct {
	timeout time.Duration
	timer   *time.Timer
	// reached says that the client was cut off.
	reached atomic.Bool
}

func newStall(control *http.ResponseController, timeout time.Duration) *stall {
	s := &stall{timeout: timeout}
	s.timer = time.AfterFunc(timeout, func() {
		s.reached.Store(true)
		_ = control.SetWriteDeadline(time.Unix(1, 0))
	})
	s.timer.Stop()
	return s
}

// watch is called when sending begins, and what it returns when that has ended.
func (s *stall) watch() (done func()) {
	s.timer.Reset(s.timeout)
	return func() { s.timer.Stop() }
}
