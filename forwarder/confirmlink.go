package forwarder

import (
	"fmt"
	"log/slog"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/quorum"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/segment"
)

// confirmLink is a connection by which a server confirms a log. Nil: nobody waits for
// what it confirms.
type confirmLink struct {
	of   *confirming
	log  segment.LogID
	last func() uint64 // of its blocks
	link *quorum.Link
}

// join notes a connection to a server, which has a log up to a position.
func (c *confirming) join(server string, log segment.LogID, last func() uint64, at *linkv1.Position) *confirmLink {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	cl := &confirmLink{c, log, last, c.quorum.Joined(server, log, 0)}
	c.countServers()
	c.mu.Unlock()
	cl.confirm(at)
	return cl
}

// confirm notes what the server says.
func (cl *confirmLink) confirm(at *linkv1.Position) {
	if cl == nil {
		return
	}
	c, now := cl.of, time.Now()
	// Nobody has forced to the disk what has not been written.
	durable := min(at.GetDurable(), at.GetSequence(), cl.last())
	c.mu.Lock()
	cl.link.Confirmed(durable)
	due := c.confirm(cl.log, now)
	c.arm(now)
	c.mu.Unlock()
	c.answer(due)
}

// leads says whether answers wait for this server rather than for others.
func (cl *confirmLink) leads() bool {
	cl.of.mu.Lock()
	defer cl.of.mu.Unlock()
	return cl.link.Leads()
}

// awaited is leads, nil if no answer waits for any server.
func (cl *confirmLink) awaited() func() bool {
	if cl == nil {
		return nil
	}
	return cl.leads
}

// leave notes that the connection has ended.
func (cl *confirmLink) leave() {
	if cl == nil {
		return
	}
	cl.of.mu.Lock()
	defer cl.of.mu.Unlock()
	cl.link.Left()
	cl.of.countServers()
}

// fewFor is how long too few servers, or enough, have to be there before it is logged:
// links end and begin again whenever another log is written.
const fewFor = 2 * time.Second

// few says whether too few servers are there.
type few struct {
	logger   *slog.Logger
	required int
	there    int
	told     bool        // that they are too few
	timer    *time.Timer // until that, or the contrary, is told
}

func (f *few) now() bool { return f.there < f.required }

// countServers notes how many servers are there. The caller holds mu.
func (c *confirming) countServers() {
	before := c.few.now()
	c.few.there = c.quorum.Servers(c.present)
	c.metrics.ackServers.Set(float64(c.few.there))
	if c.few.now() != before && !c.ended {
		c.few.timer.Reset(fewFor)
	}
}

// tellFew logs that too few servers are there, or enough again.
func (c *confirming) tellFew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &c.few
	switch {
	case f.now() == f.told:
	case f.now():
		f.logger.Error("too few servers confirm what is stored, senders are told to repeat it", "servers", f.there, "ack_servers", f.required)
	default:
		f.logger.Info("enough servers confirm what is stored again", "servers", f.there, "ack_servers", f.required)
	}
	f.told = f.now()
}

// remark says on the page that too few servers are there, nil if they are enough.
func (c *confirming) remark() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.few.now() {
		return nil
	}
	return daemon.Remark(fmt.Sprintf("%d of the %d servers are connected that have to confirm what is stored (--ack.servers)", c.few.there, c.few.required))
}
