package feed

import (
	"sync"
	"time"
)

// ackEvery is how long what was taken over waits to be acknowledged together
// with what follows. Nobody waits for it: the forwarder measures by it how far
// a server has come.
const ackEvery = 10 * time.Millisecond

// acks tells the forwarder at the other end of a connection how far a replica
// has come.
type acks struct {
	tell func()

	mu      sync.Mutex
	timer   *time.Timer
	due     bool
	sending bool // By one at a time: it may have to wait for the forwarder.
}

// newAcks has tell called when the position is due.
func newAcks(tell func()) *acks {
	a := &acks{tell: tell}
	a.timer = time.AfterFunc(time.Hour, a.send)
	a.timer.Stop()
	return a
}

// next sees to it that the present position is told soon.
func (a *acks) next() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.due && !a.sending {
		a.timer.Reset(ackEvery)
	}
	a.due = true
}

func (a *acks) send() {
	a.mu.Lock()
	a.due, a.sending = false, true
	a.mu.Unlock()
	a.tell()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sending = false
	if a.due {
		a.timer.Reset(ackEvery)
	}
}

func (a *acks) stop() { a.timer.Stop() }
