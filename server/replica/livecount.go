package replica

import (
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// liveCount is how many series of a log are live. They are counted again only after
// ten times as long as that takes, however many ask.
type liveCount struct {
	mu   sync.Mutex
	at   time.Time
	took time.Duration
	n    uint64
}

const countAgain = 10

// CountLive counts the series that a snapshot of everything would have.
func (r *Replica) CountLive(writtenSince int64) uint64 {
	c := &r.count
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) < countAgain*c.took {
		return c.n
	}
	began := time.Now()
	view := r.Head.View()
	defer view.Release()
	c.n = 0
	view.Each(0, func(_ uint64, l *segment.Latest) bool {
		if live(l, writtenSince) {
			c.n++
		}
		return true
	})
	c.at, c.took = time.Now(), time.Since(began)
	return c.n
}
