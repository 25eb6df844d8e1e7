package feed

import (
	"sync"
	"time"
)

// ackEvery is how long a block waits to be acknowledged together with those after it.
// Nobody waits for it: the forwarder uses it to measure lag.
const ackEvery = 10 * time.Millisecond

// acks acknowledges the position of a replica on one connection.
type acks struct {
	send func()

	mu      sync.Mutex
	timer   *time.Timer
	due     bool
	sending bool // one at a time, as it may have to wait for the forwarder
}

// newAcks returns acks that call send when the position is due.
func newAcks(send func()) *acks {
	a := &acks{send: send}
	a.timer = time.AfterFunc(time.Hour, a.run)
	a.timer.Stop()
	return a
}

// schedule makes the current position due.
func (a *acks) schedule() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.due && !a.sending {
		a.timer.Reset(ackEvery)
	}
	a.due = true
}

func (a *acks) run() {
	a.mu.Lock()
	a.due, a.sending = false, true
	a.mu.Unlock()
	a.send()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sending = false
	if a.due {
		a.timer.Reset(ackEvery)
	}
}

// end sends nothing more, but for what is being sent.
func (a *acks) end() error {
	a.timer.Stop()
	return nil
}
