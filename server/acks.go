package server

import (
	"sync"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
)

// ackEvery is how long what was taken over waits to be acknowledged together
// with what follows. Nobody waits for it: the forwarder measures by it how far
// a server has come.
const ackEvery = 10 * time.Millisecond

// acks tells the forwarder at the other end of a connection how far a replica
// has come.
type acks struct {
	replica *replica
	conn    *link.Conn

	mu    sync.Mutex
	timer *time.Timer
	due   bool
}

func newAcks(r *replica, c *link.Conn) *acks {
	a := &acks{replica: r, conn: c}
	a.timer = time.AfterFunc(time.Hour, a.send)
	a.timer.Stop()
	return a
}

// next sees to it that the present position is told soon.
func (a *acks) next() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.due {
		a.due = true
		a.timer.Reset(ackEvery)
	}
}

func (a *acks) send() {
	a.mu.Lock()
	a.due = false
	a.mu.Unlock()
	if p := a.replica.position(); p != nil {
		// Where it fails, the next Receive does, too.
		_ = a.conn.Send(&linkv1.Frame{Kind: &linkv1.Frame_Position{Position: p}})
	}
}

func (a *acks) stop() { a.timer.Stop() }
