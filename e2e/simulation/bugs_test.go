package simulation

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/promgrpc/exporter/forwarder/quorum"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/receiver/assign"
	"github.com/promgrpc/exporter/server/archive/plan"
	"github.com/promgrpc/exporter/server/exchange"
	"github.com/promgrpc/exporter/server/retirement"
)

// bugs are wrong decisions, each in the place of a real one.
var bugs = []struct {
	name  string
	wrong string // what it comes to, as a regular expression
	put   func(d *decisions)
}{
	{"a server that has left still counts", "was answered, and .* servers have forced it", func(d *decisions) {
		d.quorum = func(servers int) acknowledging { return staying{counted{quorum.New(servers)}} }
	}},
	{"the forwarder counts itself", "was answered, and .* servers have forced it", func(d *decisions) {
		d.quorum = func(servers int) acknowledging { return counted{quorum.New(servers - 1)} }
	}},
	{"the highest counts and not the Nth", "was answered, and .* servers have forced it", func(d *decisions) {
		d.quorum = func(servers int) acknowledging { return counted{quorum.New(min(servers, 1))} }
	}},
	{"a server that is listed twice counts twice", "was answered, and .* servers have forced it", func(d *decisions) {
		d.quorum = func(servers int) acknowledging { return &twice{counted: counted{quorum.New(servers)}} }
	}},
	{"what was confirmed of one log counts for all", "was answered, and .* servers have forced it", func(d *decisions) {
		d.quorum = func(servers int) acknowledging { return &oneLog{servers, map[string]uint64{}} }
	}},
	{"a sender stays with a forwarder that is gone", "waits for ever", func(d *decisions) {
		d.choose = func(s assign.Sender, all []assign.Forwarder, _ time.Time) int {
			return int(uint64(s) % uint64(len(all)))
		}
	}},
	{"the first peer alone is asked", "ends at block", func(d *decisions) {
		d.exchange = func() exchanging { return &firstPeer{exchange.New()} }
	}},
	{"a log ends as soon as nobody feeds it", "has ended at block", func(d *decisions) {
		d.exchange = func() exchanging { return &endsEarly{Exchange: exchange.New()} }
	}},
	{"a log ends though a peer was not asked", "has ended at block", func(d *decisions) {
		d.exchange = func() exchanging { return &endsUnasked{exchange.New()} }
	}},
	{"no log ends", "has not ended", func(d *decisions) { d.exchange = func() exchanging { return &endless{exchange.New()} } }},
	{"a log is given up that is not in the bucket", "of which the bucket has", func(d *decisions) {
		d.retire = func(logs []retirement.Log, b retirement.Bounds, now time.Time) []retirement.Retired {
			for i := range logs {
				logs[i].Archived = true
			}
			return retirement.Of(logs, b, now)
		}
	}},
	{"a log is given up that is fed", "which is fed", func(d *decisions) {
		d.retire = func(logs []retirement.Log, b retirement.Bounds, now time.Time) []retirement.Retired {
			for i := range logs {
				logs[i].Dead = true
			}
			return retirement.Of(logs, b, now)
		}
	}},
	{"a piece is named by its end", "bytes in the bucket", func(d *decisions) { d.name = byEnd }},
	{"what no answer came for is overwritten", "is overwritten", func(d *decisions) { d.overwrites = true }},
	{"pieces go before the segment is there", "is deleted", func(d *decisions) {
		d.plan = func(now time.Time, interval, jitter time.Duration) planning {
			return &hasty{Log: plan.NewLog(now, interval, jitter)}
		}
	}},
	{"of equal terms the one holds that came first", "of the pair", func(d *decisions) {
		table := d.election
		d.election = func() electing { return &byArrival{electing: table()} }
	}},
	{"other forwarders' elections are not learned", "of the pair", func(d *decisions) {
		table := d.election
		d.election = func() electing { return deaf{table()} }
	}},
}

// byEnd names a piece by its end.
func byEnd(o object) string {
	o.Offset += o.size
	return o.Name()
}

// staying has servers that never leave.
type staying struct{ acknowledging }

func (s staying) Joined(server string, log segment.LogID, durable uint64) confirming {
	return never{s.acknowledging.Joined(server, log, durable)}
}

type never struct{ confirming }

func (never) Left() {}

// twice takes each link for another server.
type twice struct {
	counted
	links int
}

func (t *twice) Joined(server string, log segment.LogID, durable uint64) confirming {
	t.links++
	return t.counted.Joined(fmt.Sprint(server, t.links), log, durable)
}

// oneLog takes all logs for one.
type oneLog struct {
	servers int
	highest map[string]uint64
}

func (o *oneLog) Joined(server string, _ segment.LogID, durable uint64) confirming {
	o.highest[server] = max(o.highest[server], durable)
	return &ofAny{o, server}
}

func (o *oneLog) Durable(segment.LogID) uint64 {
	all := append(slices.Sorted(maps.Values(o.highest)), math.MaxUint64)
	return all[max(0, len(all)-1-o.servers)]
}

type ofAny struct {
	*oneLog
	server string
}

func (o *ofAny) Confirmed(durable uint64) { o.highest[o.server] = max(o.highest[o.server], durable) }
func (*ofAny) Left()                      {}

// firstPeer knows one.
type firstPeer struct{ *exchange.Exchange }

func (f *firstPeer) Peers(addresses []string, now time.Time) { f.Exchange.Peers(addresses[:1], now) }

// endsEarly ends what nobody feeds.
type endsEarly struct {
	*exchange.Exchange
	here exchange.Here
}

func (e *endsEarly) Here(h exchange.Here, now time.Time) {
	e.here = h
	e.Exchange.Here(h, now)
}

func (e *endsEarly) Plan(now time.Time) exchange.Plan {
	p := e.Exchange.Plan(now)
	p.Ended = nil
	for _, l := range e.here.Logs {
		if !l.Fed {
			p.Ended = append(p.Ended, l.ID)
		}
	}
	return p
}

// endsUnasked takes a peer that does not answer for one that has nothing.
type endsUnasked struct{ *exchange.Exchange }

func (e *endsUnasked) NotTold(address string, now time.Time) { e.Told(address, nil, now) }

// endless ends nothing.
type endless struct{ *exchange.Exchange }

func (e *endless) Plan(now time.Time) exchange.Plan {
	p := e.Exchange.Plan(now)
	p.Ended = nil
	return p
}

// hasty deletes pieces before it creates the segment.
type hasty struct {
	*plan.Log
	deleted map[string]bool
}

func (h *hasty) Next(now time.Time, local []plan.Segment) plan.Step {
	step := h.Log.Next(now, local)
	if step.Do == plan.Create && !step.Piece && !h.deleted[step.Segment] {
		if h.deleted == nil {
			h.deleted = map[string]bool{}
		}
		h.deleted[step.Segment] = true
		return plan.Step{Do: plan.Delete, Segment: step.Segment, Piece: true}
	}
	return step
}

// byArrival keeps the claim of a term that it has.
type byArrival struct {
	electing
	term uint64
}

func (b *byArrival) Learn(now time.Time, e segment.Election) {
	if e.Term > b.term {
		b.electing.Learn(now, e)
		b.term = e.Term
	}
}

func (b *byArrival) Due(most int) []segment.Election {
	due := b.electing.Due(most)
	for i := range due {
		b.term = max(b.term, due[i].Term)
	}
	return due
}

// deaf learns nothing.
type deaf struct{ electing }

func (deaf) Learn(time.Time, segment.Election) {}

// TestBugs: each wrong decision is found within so many schedules.
func TestBugs(t *testing.T) {
	for _, bug := range bugs {
		t.Run(bug.name, func(t *testing.T) {
			in := asTheyAre()
			bug.put(in)
			what := regexp.MustCompile(bug.wrong)
			found := search(*first, bugSchedules, in, what)
			if found == nil {
				t.Fatalf("not found in %d schedules", bugSchedules)
			}
			t.Logf("found by seed %d:\n%s", found.seed, tell(shrink(*found, in, what), in))
		})
	}
}

// bugSchedules are enough to find any of the bugs.
const bugSchedules = 50_000
