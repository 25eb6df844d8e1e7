package forwarder

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/promgrpc/exporter/internal/invariant"
)

// gatherFor bounds how long an appended batch waits for others.
const gatherFor = 2 * time.Millisecond

// gathering collects the batches that share a sync, and the wake-ups after it, here and in
// the receivers: one, those that are in the stages before, and as many as were under way
// when the last group was durable, since senders that have more send again as soon as they
// are answered. One sender alone waits for nobody. Who takes a group is woken once for all
// of it.
type gathering struct {
	underWay atomic.Int64 // batches that are to be added

	mu       sync.Mutex
	changed  sync.Cond // says that due or ended is set
	group    []*job
	siblings int         // batches under way when the last group was durable
	waiting  bool        // somebody is in next
	due      bool        // the group that they wait for is complete, or has waited for long enough
	timer    *time.Timer // of a group that somebody waits for
	ended    bool
}

func newGathering() *gathering {
	g := &gathering{}
	g.changed.L = &g.mu
	g.timer = time.AfterFunc(time.Hour, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.waiting && len(g.group) > 0 {
			g.due = true
			g.changed.Signal()
		}
	})
	g.timer.Stop()
	return g
}

// expect says that a batch will be added.
func (g *gathering) expect() { g.underWay.Add(1) }

// add takes a batch that was expected. It waits for nobody.
func (g *gathering) add(j *job) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.group = append(g.group, j)
	g.left()
	if g.waiting && len(g.group) == 1 && !g.due {
		g.timer.Reset(gatherFor)
	}
}

// forgo says that a batch which was expected will not come for now.
func (g *gathering) forgo() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left()
}

// left notes that one batch less is under way. The caller holds mu.
func (g *gathering) left() {
	n := g.underWay.Add(-1)
	if invariant.On {
		invariant.Check(n >= 0, "%d batches are under way", n)
	}
	if g.waiting && g.complete() {
		g.due = true
		g.changed.Signal()
	}
}

func (g *gathering) complete() bool {
	return len(g.group) > 0 && len(g.group) >= g.siblings && g.underWay.Load() == 0
}

// next waits for a group, and takes over the memory of the one before. An empty group means
// that there is nothing more to come.
func (g *gathering) next(before []*job) []*job {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting, g.due = true, g.complete()
	if len(g.group) > 0 && !g.due {
		g.timer.Reset(gatherFor)
	}
	for !g.due && !g.ended {
		g.changed.Wait()
	}
	g.timer.Stop()
	g.waiting = false
	group := g.group
	g.group = before[:0]
	return group
}

// durable says that a group is, and so how many the next one waits for.
func (g *gathering) durable(group int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.siblings = group + len(g.group) + int(g.underWay.Load())
}

// end says that nothing more is added.
func (g *gathering) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	g.changed.Signal()
}
