package simulation

import (
	"time"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/exchange"
)

const (
	// askTimeout is how long a server waits for another one.
	askTimeout = 10 * time.Second
	// planEvery is how often a server thinks about what it lacks, less often while
	// nothing happens.
	planEvery, planSeldom = time.Second, 15 * time.Second
)

// exchanged is what a server knows of its peers, and does with them.
type exchanged struct {
	s     *server
	x     exchanging
	pause time.Duration
	turn  int
	ended []bool // each log
}

func newExchange(s *server) *exchanged {
	e := &exchanged{s: s, x: s.w.decisions.exchange(), pause: planEvery}
	var all []string
	for _, peer := range s.w.servers {
		all = append(all, peer.name)
	}
	e.x.Peers(all, s.w.time())
	s.after(s.w.between(0, planEvery), e.plan)
	return e
}

// news has it think soon.
func (e *exchanged) news() {
	if e.pause > planEvery {
		e.pause = planEvery
		e.again()
	}
}

func (e *exchanged) again() {
	e.turn++
	turn := e.turn
	e.s.after(e.pause, func() {
		if e.turn == turn {
			e.plan()
		}
	})
}

// logs that a server has.
func (s *server) logs() (all []exchange.Log) {
	for i, l := range s.w.logs {
		if i < len(s.copies) && s.copies[i].written > 0 && !s.feed(l).retired {
			all = append(all, exchange.Log{ID: l.id, Last: uint64(s.copies[i].written), Fed: s.feed(l).by != nil})
		}
	}
	return all
}

// here is what this server has.
func (e *exchanged) here() exchange.Here {
	h := exchange.Here{Logs: e.s.logs(), Room: 48, Retired: func(id segment.LogID) bool { return e.s.feed(e.s.w.logOf(id)).retired }}
	if e.s.w.bucket != nil {
		h.Bucket = func(segment.LogID) time.Time { return epoch.Add(e.s.asked) }
	}
	return h
}

// plan what to do, and do it.
func (e *exchanged) plan() {
	w := e.s.w
	e.x.Here(e.here(), w.time())
	todo := e.x.Plan(w.time())
	for _, address := range todo.Ask {
		e.ask(address)
	}
	for _, f := range todo.Fetch {
		e.fetch(f)
	}
	e.end(todo.Ended)
	if len(todo.Fetch) > 0 {
		e.pause = planEvery
	} else {
		e.pause = min(e.pause*3/2, planSeldom)
	}
	e.again()
}

func (w *world) server(name string) *server {
	for _, s := range w.servers {
		if s.name == name {
			return s
		}
	}
	return nil
}

func (w *world) logOf(id segment.LogID) *log {
	for _, l := range w.logs {
		if l.id == id {
			return l
		}
	}
	return nil
}

// ask a server what it has.
func (e *exchanged) ask(address string) {
	w, s, peer := e.s.w, e.s, e.s.w.server(address)
	if peer == s {
		s.after(w.latency(), func() { e.x.Self(address, w.time()) })
		return
	}
	answered := false
	s.send(peer.machine, w.latency(), func() {
		logs := peer.logs()
		peer.send(s.machine, w.latency(), func() {
			if !answered {
				answered = true
				e.x.Here(e.here(), w.time())
				e.x.Told(address, logs, w.time())
			}
		})
	})
	s.after(askTimeout, func() {
		if !answered {
			answered = true
			e.x.NotTold(address, w.time())
		}
	})
}

// fetch what a server has more of a log. The call may end before all has come.
func (e *exchanged) fetch(f exchange.Fetch) {
	w, s, peer, l := e.s.w, e.s, e.s.w.server(f.Peer), e.s.w.logOf(f.Log)
	answered := false
	settle := func(o exchange.Outcome) {
		if answered {
			return
		}
		answered = true
		e.x.Here(e.here(), w.time())
		e.x.Fetched(f, o, w.time())
		e.news()
	}
	s.send(peer.machine, w.latency(), func() {
		until, outcome := peer.of(l).written, exchange.Sent
		if until > 0 && w.random.IntN(8) == 0 {
			until, outcome = max(peer.of(l).after, w.random.IntN(until)), exchange.Failed
		}
		peer.send(s.machine, w.latency(), func() {
			switch {
			case answered:
				return
			case s.feed(l).by != nil:
				outcome = exchange.Taken
			case until > s.of(l).written:
				w.say("%s gets log %d up to block %d from %s", s.name, l.index, until, peer.name)
				if c, after := s.of(l), peer.of(l).after; c.written < after {
					c.after = after // It is told of the gap.
				}
				s.append(l, until)
			}
			settle(outcome)
		})
	})
	s.after(askTimeout, func() { settle(exchange.Failed) })
}

// end logs for good: those that others have more of have not ended.
func (e *exchanged) end(ended []segment.LogID) {
	w, s := e.s.w, e.s
	before := e.ended
	e.ended = make([]bool, len(w.logs))
	for _, id := range ended {
		l := w.logOf(id)
		e.ended[l.index] = true
		if l.index < len(before) && before[l.index] {
			continue
		}
		w.say("%s: log %d has ended at block %d", s.name, l.index, s.of(l).written)
		for _, peer := range w.servers {
			if has := peer.of(l).written; has > s.of(l).written && w.now-peer.feed(l).grew > exchange.EndTime {
				w.wrong("%s says that log %d has ended at block %d, and %s has %d", s.name, l.index, s.of(l).written, peer.name, has)
			}
		}
	}
}
