package simulation

import (
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// server has copies of all logs.
type server struct {
	*machine
	accepted []int // generation of each session, 0 for none
	feeds    []feed
	syncing  bool
	filling  bool
	asked    time.Duration // when the bucket was last asked what it has
	exchange *exchanged
	archive  *archive
}

// feed of a log.
type feed struct {
	by   *session      // Nil: nobody feeds it.
	left time.Duration // since when nobody does
	grew time.Duration // when something last came

	retired bool
}

func newServer(w *world, i int) *server {
	return &server{machine: w.machine("server " + string(rune('1'+i)))}
}

// start the process, with what is on its disk.
func (s *server) start() {
	w := s.w
	s.up, s.syncing, s.failing = true, false, false
	s.accepted = make([]int, len(w.forwarders)*(len(w.servers)+1))
	for i := range s.feeds {
		s.feeds[i].by, s.feeds[i].left = nil, w.now
	}
	s.exchange = newExchange(s)
	if w.bucket != nil {
		s.archive = newArchive(s)
		// Before forwarders are let in.
		s.filling, s.asked = true, -1
		s.fill()
		s.after(fillTime, func() { s.filling = false })
		s.after(bucketInterval, s.fillUnfed)
	}
	if w.retires {
		s.after(retireEvery, s.retire)
	}
}

// stop the process. Forwarders notice that within a time.
func (s *server) stop(within time.Duration) {
	s.end()
	for _, f := range s.w.forwarders {
		for _, link := range f.sessions {
			if link.s == s {
				generation := link.generation
				f.after(s.w.between(0, within), func() { link.close(generation) })
			}
		}
	}
}

// feed of a log.
func (s *server) feed(l *log) *feed {
	for len(s.feeds) <= l.index {
		s.feeds = append(s.feeds, feed{left: s.w.now})
	}
	return &s.feeds[l.index]
}

// fedBy says who feeds a log.
func (s *server) fedBy(l *log, link *session) {
	f := s.feed(l)
	f.by, f.retired = link, false
}

// welcome a forwarder, with what is here of its logs.
func (s *server) welcome(link *session, generation int) {
	if link.generation != generation || s.filling {
		return // The forwarder has given it up.
	}
	s.left(link, s.accepted[link.index])
	s.accepted[link.index] = generation
	has := append([]copyOf(nil), s.copies...)
	since := s.w.now
	link.toForwarder(func() { link.opened(generation, since, has) })
	for _, l := range link.f.mine {
		s.fedBy(l, link)
	}
	if s.w.confirmations > 0 {
		s.sync() // What came before is to be confirmed, too.
	}
	for _, l := range s.w.logs {
		s.tell(link, l, elections(l.blocks[:s.of(l).written]))
	}
}

// take what a forwarder ships.
func (s *server) take(link *session, l *log, from, until int) {
	c := s.of(l)
	s.fedBy(l, link)
	if c.written < from {
		s.w.wrong("%s got blocks of log %d after %d, and has %d", s.name, l.index, from, c.written)
		return
	}
	s.append(l, until)
	if s.w.confirmations > 0 {
		s.sync()
	}
}

// append what came of a log, from whomever.
func (s *server) append(l *log, until int) {
	c := s.of(l)
	after := c.written
	if until <= after {
		return
	}
	c.written = until
	f := s.feed(l)
	if f.grew = s.w.now; after == 0 && f.by == nil {
		f.left = s.w.now // Nobody has fed it here yet.
	}
	s.exchange.news()
	if s.archive != nil {
		s.archive.grew(l)
	}
	has := elections(l.blocks[after:until])
	for _, f := range s.w.forwarders {
		for _, link := range f.sessions {
			if link.s == s && link.generation == s.accepted[link.index] {
				s.tell(link, l, has)
			}
		}
	}
}

// tell a forwarder of elections in another's log.
func (s *server) tell(link *session, l *log, has []segment.Election) {
	if len(has) > 0 && link.f.current != l {
		link.toForwarder(func() {
			for _, e := range has {
				link.f.learn(e)
			}
		})
	}
}

// sync forces all that was written, one at a time, and confirms it.
func (s *server) sync() {
	if s.syncing {
		return
	}
	targets := make([]int, len(s.copies))
	more := false
	for i := range s.copies {
		targets[i] = s.copies[i].written
		more = more || s.copies[i].forced < targets[i]
	}
	if !more {
		return
	}
	s.syncing = true
	s.after(s.w.between(time.Millisecond, 10*time.Millisecond)+s.slow, func() {
		s.syncing = false
		if s.failing {
			s.fail()
			return
		}
		for i, target := range targets {
			s.copies[i].forced = max(s.copies[i].forced, min(target, s.copies[i].written))
		}
		s.confirm()
		s.sync()
	})
}

// fail a sync: what was not forced is not taken for there, and the links are lost.
func (s *server) fail() {
	s.failing = false
	s.w.say("%s fails to force its disk", s.name)
	for i := range s.copies {
		s.copies[i].written = s.copies[i].forced
	}
	for _, f := range s.w.forwarders {
		for _, link := range f.sessions {
			if link.s != s {
				continue
			}
			if s.accepted[link.index] == link.generation {
				link.breaks(100 * time.Millisecond)
			}
			s.left(link, s.accepted[link.index])
		}
	}
}

// confirm to each forwarder what was forced of its logs.
func (s *server) confirm() {
	for i := range s.feeds {
		if link := s.feeds[i].by; link != nil {
			l, durable := s.w.logs[i], s.of(s.w.logs[i]).forced
			for _, same := range link.f.sessions {
				if same.s == s && s.accepted[same.index] == same.generation {
					same.toForwarder(func() { same.confirmed(l, durable) })
				}
			}
		}
	}
}

// left notes that a link was lost.
func (s *server) left(link *session, generation int) {
	if s.accepted[link.index] != generation {
		return
	}
	s.accepted[link.index] = 0
	s.exchange.news()
	for i := range s.feeds {
		if s.feeds[i].by != link {
			continue
		}
		s.feeds[i].by, s.feeds[i].left = nil, s.w.now
		for _, other := range link.f.sessions {
			if other.s == s && other.open && s.accepted[other.index] == other.generation && slices.Contains(link.f.mine, s.w.logs[i]) {
				s.feeds[i].by = other
			}
		}
	}
}
