package simulation

import (
	"time"

	"github.com/promgrpc/exporter/forwarder/election"
	"github.com/promgrpc/exporter/internal/segment"
)

// How a forwarder and what connects to it are set.
const (
	ackTimeout = 5 * time.Second
	// silence is for how long one end of a link may hear nothing.
	silence = 15 * time.Second
)

// code of an answer.
type code int

const (
	answeredOK code = iota
	unavailable
	unconfirmed
	unanswered // the answer was lost
)

// place of a block.
type place struct {
	log      *log
	sequence int
}

// forwarder writes a log, and answers once it is on enough disks.
type forwarder struct {
	*machine
	current  *log
	mine     []*log // that it has something of
	window   map[int]place
	waiting  []*waiter
	syncing  bool
	quorum   acknowledging
	sessions []*session
	election electing
	gone     bool // for good
}

// waiter waits for a block to be on enough disks.
type waiter struct {
	place
	reply func(code)
}

func newForwarder(w *world, i int) *forwarder {
	return &forwarder{machine: w.machine("forwarder " + string(rune('1'+i)))}
}

// connect makes the links to the servers. Discovery may list one twice.
func (f *forwarder) connect() {
	for _, s := range f.w.servers {
		f.sessions = append(f.sessions, &session{f: f, s: s, index: len(f.w.forwarders)*len(f.sessions) + f.index})
	}
	if f.w.random.IntN(4) == 0 {
		f.sessions = append(f.sessions, &session{f: f, s: f.w.servers[0], index: len(f.w.forwarders)*len(f.sessions) + f.index})
	}
}

// start the process, with what is on its disk.
func (f *forwarder) start() {
	f.up, f.syncing, f.failing, f.waiting = true, false, false, nil
	f.quorum = f.w.decisions.quorum(f.w.confirmations)
	f.election = f.w.decisions.election()
	for _, s := range f.sessions {
		s.open, s.closed = false, true
		f.after(f.w.latency(), s.dial)
	}
	f.reopen(f.current)
}

// reopen goes on with a log, or begins one. What it has on its disk it recognises.
func (f *forwarder) reopen(l *log) {
	f.window = map[int]place{}
	for _, l := range f.mine {
		f.recognise(l, 0, f.of(l).written)
	}
	if f.current = l; l != nil {
		f.election.Opened(f.w.time(), l.id, elections(l.blocks))
		f.sync()
		return
	}
	f.current = f.w.newLog()
	f.mine = append(f.mine, f.current)
	f.election.Opened(f.w.time(), f.current.id, nil)
	for _, s := range f.sessions {
		s.began(f.current)
	}
}

// elections that blocks have, of each cluster the last.
func elections(blocks []block) []segment.Election {
	for i := len(blocks) - 1; i >= 0; i-- {
		if has := blocks[i].elections; len(has) > 0 {
			return has
		}
	}
	return nil
}

// recognise what is in a log.
func (f *forwarder) recognise(l *log, after, until int) {
	for i, b := range l.blocks[after:until] {
		f.window[b.request] = place{l, after + i + 1}
	}
}

// stop the process. Servers notice that within a time.
func (f *forwarder) stop(within time.Duration) {
	f.end()
	for _, s := range f.sessions {
		generation := s.generation
		s.s.after(f.w.between(0, within), func() { s.s.left(s, generation) })
	}
}

// cutLog ends the current log, of which the end may be lost, and begins another.
func (f *forwarder) cutLog() {
	c := f.of(f.current)
	f.w.say("%s cuts log %d to block %d", f.name, f.current.index, c.forced)
	c.written = c.forced
	for _, waiter := range f.waiting {
		waiter.reply(unavailable)
	}
	f.waiting = nil
	ended := f.current
	f.reopen(nil)
	for _, s := range f.sessions {
		s.rejoin(ended)
	}
}

// serve a request.
func (f *forwarder) serve(request int, reply func(code)) {
	at, known := f.window[request]
	if !known {
		switch f.decide(request) {
		case election.Drop:
			f.w.say("%s drops request %d", f.name, request)
			f.w.requests[request].dropped = true
			reply(answeredOK)
			return
		case election.Wait:
			reply(unavailable)
			return
		case election.Take:
		}
		at = f.append(request)
		f.window[request] = at
		f.w.requests[request].taken = true
		f.w.say("%s appends request %d as block %d of log %d", f.name, request, at.sequence, at.log.index)
	}
	waiting := &waiter{at, reply}
	f.waiting = append(f.waiting, waiting)
	f.after(ackTimeout, func() { f.giveUp(waiting) })
	f.answer()
}

// cluster of the pair.
var cluster = election.Key{Cluster: "pair"}

// decide about a request of a pair.
func (f *forwarder) decide(request int) election.Decision {
	sender := f.w.requests[request].sender
	if !f.w.pair || sender > 1 {
		return election.Take
	}
	d, err := f.election.Request(f.w.time(), cluster, f.w.senders[sender].name)
	if err != nil {
		f.w.wrong("%s: %v", f.name, err)
	}
	f.claim()
	return d
}

// claim at once what others should know.
func (f *forwarder) claim() {
	if f.election.Claimed() {
		f.append(noRequest)
	}
}

// learn of an election in another log.
func (f *forwarder) learn(e segment.Election) {
	f.election.Learn(f.w.time(), e)
	f.claim()
}

// noRequest brought a block.
const noRequest = -1

// append a block, which servers get at once where they have to confirm it.
func (f *forwarder) append(request int) place {
	b := block{request: request, appended: f.w.now, elections: f.election.Due(10)}
	if f.of(f.current).written != len(f.current.blocks) {
		f.w.wrong("%s writes other blocks into log %d, which others have", f.name, f.current.index)
	}
	f.current.blocks = append(f.current.blocks, b)
	f.of(f.current).written++
	at := place{f.current, f.of(f.current).written}
	f.sync()
	if f.w.confirmations > 0 {
		f.ship()
	}
	return at
}

// sync forces what was written, one at a time: the next covers all that came meanwhile.
func (f *forwarder) sync() {
	l := f.current
	target := f.of(l).written
	if f.syncing || f.of(l).forced >= target {
		return
	}
	f.syncing = true
	f.after(f.w.between(time.Millisecond, 10*time.Millisecond)+f.slow, func() {
		f.syncing = false
		if l != f.current {
			return
		}
		if f.failing {
			f.failing = false
			f.cutLog()
			return
		}
		f.of(l).forced = target
		f.ship()
		f.answer()
		f.sync()
	})
}

// ship what servers lack.
func (f *forwarder) ship() {
	for _, s := range f.sessions {
		s.ship()
	}
}

// visible says how much of a log servers may have.
func (f *forwarder) visible(l *log) int {
	if f.w.confirmations > 0 {
		return f.of(l).written
	}
	return f.of(l).forced
}

// answer who waits for nothing any more.
func (f *forwarder) answer() {
	left := f.waiting[:0]
	for _, w := range f.waiting {
		if f.of(w.log).forced < w.sequence || f.quorum.Durable(w.log.id) < uint64(w.sequence) {
			left = append(left, w)
			continue
		}
		f.w.checkAnswer(f, w.place)
		w.reply(answeredOK)
	}
	clear(f.waiting[len(left):])
	f.waiting = left
}

// giveUp says that a block was not confirmed in time.
func (f *forwarder) giveUp(w *waiter) {
	for i, other := range f.waiting {
		if other == w {
			f.waiting = append(f.waiting[:i:i], f.waiting[i+1:]...)
			f.w.say("%s: block %d of log %d is not confirmed", f.name, w.sequence, w.log.index)
			w.reply(unconfirmed)
			return
		}
	}
}
