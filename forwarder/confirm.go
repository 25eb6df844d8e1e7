package forwarder

import (
	"container/heap"
	"fmt"
	"log/slog"
	"sync"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/quorum"
	"github.com/promgrpc/exporter/internal/segment"
)

// place is a block of a log.
type place struct {
	log      *segment.LogID // nil: of none
	sequence uint64
}

// in says whether the block is one of a log.
func (p place) in(log *segment.LogID) bool { return p.log != nil && *p.log == *log }

// confirming holds verdicts back until as many servers as have to have forced to their
// disks what the verdicts say, for a time.
type confirming struct {
	servers int
	timeout time.Duration
	metrics *metrics
	// answer gives the verdicts of batches.
	answer func([]*job)
	// expired says that nothing is kept of a log any more.
	expired func(segment.LogID) bool

	mu      sync.Mutex
	quorum  *quorum.Quorum
	present segment.LogID
	waiting map[segment.LogID]*waitingHeap
	// held is what waits in the order in which it came, with some of what was answered.
	held  []*waiting
	timer *time.Timer // until the first of them has waited for long enough
	armed bool
	ended bool // no server will confirm anything any more
	few   few
}

func newConfirming(servers int, timeout time.Duration, logger *slog.Logger, m *metrics) *confirming {
	c := &confirming{
		servers: servers, timeout: timeout, metrics: m,
		quorum: quorum.New(servers), waiting: map[segment.LogID]*waitingHeap{},
	}
	c.timer = time.AfterFunc(time.Hour, c.giveUp)
	c.timer.Stop()
	c.few = few{logger: logger, required: servers}
	c.few.timer = time.AfterFunc(fewFor, c.tellFew)
	m.ackRequired.Set(float64(servers))
	return c
}

// waiting is a verdict that is held back.
type waiting struct {
	job   *job // nil once it was answered
	on    place
	until time.Time
	index int // in the heap of the log
}

// waitingHeap is what waits for a log, the earliest block first.
type waitingHeap []*waiting

func (h waitingHeap) Len() int           { return len(h) }
func (h waitingHeap) Less(i, j int) bool { return h[i].on.sequence < h[j].on.sequence }
func (h waitingHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements [heap.Interface].
func (h *waitingHeap) Push(x any) {
	w := x.(*waiting)
	w.index = len(*h)
	*h = append(*h, w)
}

// Pop implements [heap.Interface].
func (h *waitingHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return w
}

// use says which log is being written.
func (c *confirming) use(present segment.LogID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.present = present
	c.countServers()
}

// hold answers batches whose blocks are durable here, each once they are confirmed, or
// have not been in time.
func (c *confirming) hold(jobs []*job) {
	now := time.Now()
	c.mu.Lock()
	var due []*job
	for _, j := range jobs {
		w := &waiting{job: j, on: j.answer.place, until: now.Add(c.timeout)}
		switch {
		case c.confirmed(w.on):
			due = append(due, c.done(w, now))
		case c.ended:
			due = append(due, c.unconfirmed(w))
		default:
			c.wait(w)
			c.held = append(c.held, w)
		}
	}
	c.arm(now)
	c.mu.Unlock()
	c.answer(due)
}

// confirmed says whether a block is, or is beyond the retention with all of its log.
func (c *confirming) confirmed(p place) bool {
	return p.log == nil || c.quorum.Durable(*p.log) >= p.sequence ||
		*p.log != c.present && c.expired(*p.log)
}

func (c *confirming) wait(w *waiting) {
	log := *w.on.log
	if c.waiting[log] == nil {
		c.waiting[log] = new(waitingHeap)
	}
	heap.Push(c.waiting[log], w)
}

// done returns the batch with its verdict.
func (c *confirming) done(w *waiting, now time.Time) *job {
	j := w.job
	w.job = nil
	if !j.appended.IsZero() {
		c.metrics.ackSeconds.Observe(now.Sub(j.appended).Seconds())
	}
	return j
}

// unconfirmed returns the batch with the verdict that it was not confirmed.
func (c *confirming) unconfirmed(w *waiting) *job {
	j, p := w.job, w.on
	w.job = nil
	j.verdict = &linkv1.Verdict{Code: linkv1.Code_CODE_UNCONFIRMED, Errors: []string{fmt.Sprintf(
		"after %s (--ack.timeout) block %d of log %s is not on the disks of %d servers (--ack.servers), of which %d are connected for it",
		c.timeout, p.sequence, *p.log, c.servers, c.quorum.Servers(*p.log))}}
	return j
}

// confirm answers what is confirmed by now of what waits for a log.
func (c *confirming) confirm(log segment.LogID, now time.Time) (due []*job) {
	h := c.waiting[log]
	if h == nil {
		return nil
	}
	durable := c.quorum.Durable(log)
	for h.Len() > 0 {
		if (*h)[0].on.sequence > durable {
			return due
		}
		due = append(due, c.done(heap.Pop(h).(*waiting), now))
	}
	delete(c.waiting, log)
	return due
}

// giveUp answers what has waited for long enough.
func (c *confirming) giveUp() {
	now := time.Now()
	var due []*job
	c.mu.Lock()
	c.armed = false
	for _, w := range c.held {
		if w.job == nil {
			continue
		}
		if !c.ended && now.Before(w.until) {
			break
		}
		log := *w.on.log
		heap.Remove(c.waiting[log], w.index)
		if c.waiting[log].Len() == 0 {
			delete(c.waiting, log)
		}
		due = append(due, c.unconfirmed(w))
	}
	c.arm(now)
	c.mu.Unlock()
	c.answer(due)
}

// arm forgets what was answered, and has giveUp called when the first of the others has
// waited for long enough.
func (c *confirming) arm(now time.Time) {
	for len(c.held) > 0 && c.held[0].job == nil {
		c.held[0] = nil
		c.held = c.held[1:]
	}
	if len(c.held) > 0 && !c.armed {
		c.armed = true
		c.timer.Reset(c.held[0].until.Sub(now))
	}
}

// end says that no server confirms anything any more.
func (c *confirming) end() {
	if c == nil {
		return
	}
	c.mu.Lock()
	c.ended = true
	c.timer.Stop()
	c.few.timer.Stop()
	c.mu.Unlock()
	c.giveUp()
}
