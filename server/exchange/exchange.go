// Package exchange says which log a server asks which other server for, and when a log
// whose forwarder is gone has ended for good.
//
// A forwarder that is lost for good leaves a log of which one server has more than
// another. Those that lack its end get it from those that have it, so that it has one end
// everywhere, and a cursor at that end means the same at each.
//
// Guaranteed: what comes out depends on what an [Exchange] was told, in its order, and on
// nothing else: there is no clock, no goroutine, no network and no disk here. A log is
// asked for only while no forwarder feeds it, of one peer at a time, and [mostFetches] at
// once. A log has ended once nobody who may have more of it is left unasked.
//
// Not guaranteed: that what a peer says is true. What it sends has to continue what is
// here, block by block, which is checked where it is appended. A peer that claims blocks
// and does not send them is believed a few times.
package exchange

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

const (
	// AwayTime is how long nobody has fed a log that is asked for: a forwarder that lost
	// its connection is back sooner, and brings the same.
	AwayTime = 2 * time.Second
	// EndTime is how long all peers have to have nothing more of a log that has ended.
	EndTime = 30 * time.Second
	// GiveUpTime is how long a peer that does not answer is waited for before a log may
	// end without it.
	GiveUpTime = 10 * time.Minute
	// leastPause and mostPause bound the time between two questions to a peer: it grows
	// while its answers bring nothing new.
	leastPause = time.Second
	mostPause  = 30 * time.Second
	// mostFetches are under way at a time. Each may hold a whole piece of a log in memory.
	mostFetches = 2
	// mostVain is how often in a row a peer may claim blocks and not send any before a log
	// may end without them.
	mostVain = 5
	// mostHeld is how long a peer is not asked for a log that was tried in vain.
	mostHeld = 5 * time.Minute
)

// Log is what a server has of a log.
type Log struct {
	ID   segment.LogID
	Last uint64 // block
	Fed  bool   // a forwarder feeds it
}

// Here is what this server has.
type Here struct {
	Logs []Log
	// Room is for how many logs more there is a place.
	Room int
	// Retired logs are not asked for.
	Retired func(segment.LogID) bool
	// Bucket says when the bucket was last asked what it has of a log, which may be more. Nil:
	// there is none.
	Bucket func(segment.LogID) time.Time
}

// Fetch is a log that is asked for.
type Fetch struct {
	Peer string
	Log  segment.LogID
}

// Outcome is how a fetch ended.
type Outcome int

// The outcomes.
const (
	// Sent: the peer says that it has sent all that it has.
	Sent Outcome = iota
	// Failed: the call did not come to its end.
	Failed
	// Diverged: the peer has other blocks than this server.
	Diverged
	// Taken: a forwarder feeds the log now.
	Taken
	// Refused: the log is not taken here.
	Refused
)

// Plan is what to do now.
type Plan struct {
	// Ask these peers which logs they have.
	Ask []string
	// Fetch these logs.
	Fetch []Fetch
	// Ended are the logs that have ended for good, by what is known now.
	Ended []segment.LogID
}

// Exchange is what a server knows of its peers. It is not for concurrent use.
type Exchange struct {
	here    Here
	own     map[segment.LogID]*own
	peers   map[string]*peer
	changed time.Time // the set of peers
	named   bool      // there is such a set
	running map[segment.LogID]string
	seen    map[segment.LogID]time.Time // since when a log is known that is not here
	tried   map[segment.LogID]int       // when it was last fetched, by counting
	tries   int
}

// own is a log that is here.
type own struct {
	Log
	away time.Time // since when nobody feeds it
	grew time.Time // when it last got blocks all the same
}

// New returns one that knows no peers.
func New() *Exchange {
	return &Exchange{own: map[segment.LogID]*own{}, peers: map[string]*peer{}, running: map[segment.LogID]string{}, seen: map[segment.LogID]time.Time{}, tried: map[segment.LogID]int{}}
}

// Peers says which other servers there are. One that is no other is told by [Exchange.Self].
func (x *Exchange) Peers(addresses []string, now time.Time) {
	x.named = true
	for address := range x.peers {
		if !slices.Contains(addresses, address) {
			delete(x.peers, address)
			x.changed = now
		}
	}
	for _, address := range addresses {
		if x.peers[address] == nil {
			x.peers[address] = newPeer(now)
			x.changed = now
		}
	}
}

// Here says what this server has.
func (x *Exchange) Here(h Here, now time.Time) {
	x.here = h
	before := x.own
	x.own = make(map[segment.LogID]*own, len(h.Logs))
	for _, l := range h.Logs {
		o := &own{Log: l, away: now}
		if was := before[l.ID]; was != nil && !was.Fed {
			o.away, o.grew = was.away, was.grew
			if l.Last > was.Last {
				o.grew = now
			}
		} else if !l.Fed {
			x.hurry(now.Add(AwayTime))
		}
		x.own[l.ID] = o
		delete(x.seen, l.ID)
	}
}

// hurry has all peers asked by a time, and then often.
func (x *Exchange) hurry(by time.Time) {
	for _, p := range x.peers {
		p.hurry(by)
	}
}

// Self says that a peer is this server itself.
func (x *Exchange) Self(address string, now time.Time) {
	if p := x.peers[address]; p != nil {
		p.answered(now)
		p.self, p.logs, p.pause = true, nil, mostPause
		p.next = now.Add(p.pause)
	}
}

// Told is the answer of a peer to a question of a [Plan].
func (x *Exchange) Told(address string, logs []Log, now time.Time) {
	p := x.peers[address]
	if p == nil {
		return
	}
	p.answered(now)
	p.self = false
	before := p.logs
	p.logs = make(map[segment.LogID]*theirs, len(logs))
	news := false
	for _, l := range logs {
		t := &theirs{}
		if was := before[l.ID]; was != nil {
			t = was
		}
		news = news || x.concerns(l.ID) && t.Log != l
		t.Log = l
		p.logs[l.ID] = t
		if _, known := x.seen[l.ID]; !known && x.own[l.ID] == nil {
			x.seen[l.ID] = now
		}
	}
	x.settle(p)
	p.pauseFrom(now, news)
}

// concerns says whether it matters what a peer has of a log.
func (x *Exchange) concerns(id segment.LogID) bool {
	if o := x.own[id]; o != nil {
		return !o.Fed
	}
	return x.here.Retired == nil || !x.here.Retired(id)
}

// settle notes of which logs a peer has no more than this server.
func (x *Exchange) settle(p *peer) {
	before := p.clean
	p.clean = map[segment.LogID]time.Time{}
	for id, o := range x.own {
		if t := p.logs[id]; t != nil && (t.Fed || t.Last > o.Last && t.believed()) {
			continue
		}
		p.clean[id] = p.asked
		if since, ok := before[id]; ok {
			p.clean[id] = since
		}
	}
}

// NotTold says that a peer has not answered a question.
func (x *Exchange) NotTold(address string, now time.Time) {
	if p := x.peers[address]; p != nil {
		p.asking, p.tried = false, true
		p.pauseFrom(now, false)
	}
}

// Fetched says how a fetch ended. What came of it has been told by [Exchange.Here].
func (x *Exchange) Fetched(f Fetch, o Outcome, now time.Time) {
	delete(x.running, f.Log)
	p := x.peers[f.Peer]
	if p == nil {
		return
	}
	p.fetching = false
	t := p.logs[f.Log]
	if t == nil {
		return
	}
	t.tried(o, x.lastOf(f.Log) > t.began, now)
	p.hurry(now)
}

// lastOf is the last block of a log here, 0 if it is not.
func (x *Exchange) lastOf(id segment.LogID) uint64 {
	if o := x.own[id]; o != nil {
		return o.Last
	}
	return 0
}

// Plan returns what to do. What it says is under way from then on.
func (x *Exchange) Plan(now time.Time) Plan {
	var plan Plan
	for _, address := range x.addresses() {
		if p := x.peers[address]; !p.asking && !now.Before(p.next) {
			p.asking, p.asked = true, now
			plan.Ask = append(plan.Ask, address)
		}
	}
	for _, id := range x.wanted(now) {
		if len(x.running) >= mostFetches {
			break
		}
		if address := x.source(id, now); address != "" {
			plan.Fetch = append(plan.Fetch, x.begin(id, address))
		}
	}
	for id := range x.own {
		if x.ended(id, now) {
			plan.Ended = append(plan.Ended, id)
		}
	}
	slices.SortFunc(plan.Ended, compare)
	x.forget()
	return plan
}

// forget forgets when logs were fetched that are nowhere any more.
func (x *Exchange) forget() {
	for id := range x.tried {
		if _, seen := x.seen[id]; !seen && x.own[id] == nil {
			delete(x.tried, id)
		}
	}
}

func compare(a, b segment.LogID) int { return bytes.Compare(a[:], b[:]) }

// addresses of the peers, in an order that does not change.
func (x *Exchange) addresses() []string {
	all := make([]string, 0, len(x.peers))
	for address := range x.peers {
		all = append(all, address)
	}
	slices.Sort(all)
	return all
}

func (x *Exchange) begin(id segment.LogID, address string) Fetch {
	x.running[id] = address
	x.tries++
	x.tried[id] = x.tries
	p := x.peers[address]
	p.fetching, p.logs[id].began = true, x.lastOf(id)
	return Fetch{Peer: address, Log: id}
}

// wanted are the logs that may be fetched, those first that were not for the longest time.
func (x *Exchange) wanted(now time.Time) []segment.LogID {
	var all []segment.LogID
	for id, o := range x.own {
		if !o.Fed && now.Sub(o.away) >= AwayTime && !x.isRunning(id) {
			all = append(all, id)
		}
	}
	others, room := x.missing(now)
	all = append(all, others[:max(0, min(room, len(others)))]...)
	x.sort(all)
	return all
}

// missing are the logs that only peers have, and for how many there is room.
func (x *Exchange) missing(now time.Time) (all []segment.LogID, room int) {
	room = x.here.Room
	for id := range x.running {
		if x.own[id] == nil {
			room--
		}
	}
	for id, since := range x.seen {
		switch {
		case !x.known(id):
			delete(x.seen, id)
		case now.Sub(since) >= AwayTime && x.concerns(id) && !x.isRunning(id):
			all = append(all, id)
		}
	}
	x.sort(all)
	return all, room
}

func (x *Exchange) sort(logs []segment.LogID) {
	slices.SortFunc(logs, func(a, b segment.LogID) int { return cmp.Or(cmp.Compare(x.tried[a], x.tried[b]), compare(a, b)) })
}

func (x *Exchange) isRunning(id segment.LogID) bool { return x.running[id] != "" }

// known says whether any peer has a log.
func (x *Exchange) known(id segment.LogID) bool {
	for _, p := range x.peers {
		if p.logs[id] != nil {
			return true
		}
	}
	return false
}

// source is the peer to fetch a log from, "" if there is none: of those that are free the
// one that has most of it.
func (x *Exchange) source(id segment.LogID, now time.Time) string {
	best, last := "", x.lastOf(id)
	for _, address := range x.addresses() {
		p := x.peers[address]
		if t := p.logs[id]; t != nil && !p.fetching && t.Last > last && !now.Before(t.held) {
			best, last = address, t.Last
		}
	}
	return best
}

// Begun says whether every peer was asked, in vain or not, and all was fetched that only
// they had and that there is room for, as far as they sent it.
func (x *Exchange) Begun(now time.Time) bool {
	for _, p := range x.peers {
		if !p.tried {
			return false
		}
	}
	return x.named && !x.lacks(now)
}

// lacks says whether a log that only peers have is being fetched, or will be soon.
func (x *Exchange) lacks(now time.Time) bool {
	for id := range x.running {
		if x.own[id] == nil {
			return true
		}
	}
	for id := range x.seen {
		if x.here.Room > 0 && x.concerns(id) && x.source(id, now) != "" {
			return true
		}
	}
	return false
}

// ended says whether a log that is here has ended for good: every peer was asked since
// nobody feeds it, and again a while after the last of them had nothing more.
func (x *Exchange) ended(id segment.LogID, now time.Time) bool {
	o := x.own[id]
	if o.Fed || x.isRunning(id) || x.changed.IsZero() || x.here.Bucket != nil && x.here.Bucket(id).Before(o.away) {
		return false
	}
	settled := latest(o.away, o.grew, x.changed)
	for _, p := range x.peers {
		clean, ok := p.clean[id]
		switch {
		case p.self || p.lost(now):
		case !ok:
			return false
		default:
			settled = latest(settled, clean)
		}
	}
	until := settled.Add(EndTime)
	if now.Before(until) {
		return false
	}
	for _, p := range x.peers {
		if p.self || p.lost(now) || !p.answer.Before(until) {
			continue
		}
		if p.asked.Before(until) && p.next.After(now) {
			p.next = now
		}
		return false
	}
	return true
}

func latest(times ...time.Time) time.Time {
	return slices.MaxFunc(times, time.Time.Compare)
}
