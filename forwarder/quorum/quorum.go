// Package quorum counts which blocks of a forwarder's logs are on the disks of enough
// servers for what is in them to be answered, and says which servers answers wait for.
//
// Guaranteed: a block counts once so many different servers have confirmed it on links
// that they still have. A server counts once, however many links it has: what the least
// of them has confirmed. What is confirmed of a log goes back only when a link of it is
// lost, or a server has another one on which it has confirmed less.
//
// Not guaranteed: that a server still has what it confirmed on a link that nobody knows
// yet to be lost. Servers are told apart by what they call themselves.
//
// It is pure, with no clock, lock or goroutine of its own: facts come in order, from one
// caller at a time.
package quorum

import (
	"math"
	"slices"

	"github.com/promgrpc/exporter/internal/segment"
)

// Quorum is what the servers have confirmed.
type Quorum struct {
	servers int
	logs    map[segment.LogID][]*Link
	durable []uint64 // of Durable, reused
}

// Link is a connection by which a server gets a log.
type Link struct {
	quorum  *Quorum
	server  string
	log     segment.LogID
	durable uint64
}

// New returns one in which a block counts once so many servers have confirmed it. If
// none have to, every block does.
func New(servers int) *Quorum {
	return &Quorum{servers: servers, logs: map[segment.LogID][]*Link{}}
}

// Joined notes a link to a server, which said in its welcome up to which block it has
// the log on its disk.
func (q *Quorum) Joined(server string, log segment.LogID, durable uint64) *Link {
	l := &Link{q, server, log, durable}
	q.logs[log] = append(q.logs[log], l)
	return l
}

// Confirmed notes that the server has the log on its disk up to a block. One that is
// before what it confirmed earlier changes nothing.
func (l *Link) Confirmed(durable uint64) { l.durable = max(l.durable, durable) }

// Left notes that the link was lost. Nothing that it brings afterwards counts.
func (l *Link) Left() {
	q := l.quorum
	links := slices.DeleteFunc(q.logs[l.log], func(other *Link) bool { return other == l })
	if len(links) == 0 {
		delete(q.logs, l.log)
		return
	}
	q.logs[l.log] = links
}

// Durable is the last block of a log that enough servers have on their disks, 0 for none.
func (q *Quorum) Durable(log segment.LogID) uint64 {
	if q.servers <= 0 {
		return math.MaxUint64
	}
	q.least(log)
	if len(q.durable) < q.servers {
		return 0
	}
	slices.Sort(q.durable)
	return q.durable[len(q.durable)-q.servers]
}

// Leads says whether the server is one of as many as have to confirm of which answers may
// be expected first: those that came first, without any that are behind what is confirmed by
// more than leadLag. So the same ones lead, and a server that does not answer soon does not.
// Of a server that has several links the oldest counts.
func (l *Link) Leads() bool {
	q := l.quorum
	durable, links := q.Durable(l.log), q.logs[l.log]
	least := durable - min(durable, leadLag)
	before := 0
	for i, other := range links {
		if other == l {
			break
		}
		same := func(o *Link) bool { return o.server == other.server }
		if other.durable >= least && !same(l) && !slices.ContainsFunc(links[:i], same) {
			before++
		}
	}
	return l.durable >= least && before < q.servers
}

// leadLag is how many blocks a server may be behind others and lead: whichever is faster
// by a little changes with each block.
const leadLag = 64

// Servers is how many servers have links by which they get a log.
func (q *Quorum) Servers(log segment.LogID) int {
	q.least(log)
	return len(q.durable)
}

// least collects what each server has of a log, by the link that has confirmed least.
func (q *Quorum) least(log segment.LogID) {
	q.durable = q.durable[:0]
	links := q.logs[log]
	for i, l := range links {
		same := func(other *Link) bool { return other.server == l.server }
		if slices.ContainsFunc(links[:i], same) {
			continue
		}
		least := l.durable
		for _, other := range links[i+1:] {
			if same(other) {
				least = min(least, other.durable)
			}
		}
		q.durable = append(q.durable, least)
	}
}
