package simulation

import "time"

// session is the link from a forwarder to a server, on which the server gets all its
// logs. What comes over one comes in order; once something is lost, all that
// follows is, until the ends have noticed, each in its time.
type session struct {
	f          *forwarder
	s          *server
	index      int
	generation int
	open       bool          // at the forwarder
	closed     bool          // there, too: nothing that comes on it counts
	since      time.Duration // when the server said what it has
	shipped    []int         // of each log
	links      []confirming  // of each log
	out, in    way           // to the server, and to the forwarder
}

// dial tries to open it.
func (s *session) dial() {
	w := s.f.w
	if s.open {
		return
	}
	s.generation++
	generation := s.generation
	s.closed, s.out, s.in = false, way{}, way{}
	s.f.send(s.s.machine, w.latency(), func() { s.s.welcome(s, generation) })
	s.f.after(w.between(time.Second, 3*time.Second), func() {
		if !s.open && s.generation == generation {
			s.dial()
		}
	})
}

// opened at the forwarder, with what the server said that it has.
func (s *session) opened(generation int, since time.Duration, has []copyOf) {
	if s.open || s.closed || s.generation != generation {
		return
	}
	s.open, s.since = true, since
	s.shipped, s.links = s.shipped[:0], s.links[:0]
	f := s.f
	for _, l := range f.mine {
		var there copyOf // Nothing, where the server does not know it.
		if l.index < len(has) {
			there = has[l.index]
		}
		s.take(l, there)
	}
	s.ship()
	f.answer()
}

// fetch what the forwarder has lost of a log that has ended.
func (s *session) fetch(l *log, until int) {
	s.f.w.say("%s fetches log %d up to block %d from %s", s.f.name, l.index, until, s.s.name)
	s.toForwarder(func() {
		c := s.f.of(l)
		if until <= c.written {
			return
		}
		s.f.recognise(l, c.written, until)
		c.written, c.forced = until, until
		s.f.ship()
		s.f.answer()
	})
}

// rejoin takes another link for a log that has ended, of which the server may have more.
func (s *session) rejoin(l *log) {
	if !s.open {
		return
	}
	if link := s.links[l.index]; link != nil {
		link.Left()
		s.links[l.index] = nil
	}
	s.toServer(func() {
		s.s.fedBy(l, s)
		has := *s.s.of(l)
		s.toForwarder(func() { s.take(l, has) })
	})
}

// take what the server says that it has of a log.
func (s *session) take(l *log, has copyOf) {
	s.joined(l, has.forced)
	s.shipped[l.index] = has.written
	if l != s.f.current && has.written > s.f.of(l).written {
		s.fetch(l, has.written)
	}
}

// joined notes a link for a log.
func (s *session) joined(l *log, durable int) {
	for len(s.shipped) <= l.index {
		s.shipped, s.links = append(s.shipped, 0), append(s.links, nil)
	}
	s.links[l.index] = s.f.quorum.Joined(s.s.name, l.id, uint64(durable))
}

// began says that there is another log.
func (s *session) began(l *log) {
	if s.open {
		s.joined(l, 0)
		s.toServer(func() { s.s.fedBy(l, s) })
	}
}

// ship what the server lacks.
func (s *session) ship() {
	if !s.open {
		return
	}
	for _, l := range s.f.mine {
		if visible := s.f.visible(l); visible > s.shipped[l.index] {
			from := s.shipped[l.index]
			s.shipped[l.index] = visible
			s.toServer(func() { s.s.take(s, l, from, visible) })
		}
	}
}

// confirmed comes from the server.
func (s *session) confirmed(l *log, durable int) {
	if l.index < len(s.links) && s.links[l.index] != nil {
		s.links[l.index].Confirmed(uint64(durable))
		s.f.answer()
	}
}

// way is one of the two directions of a session.
type way struct {
	at   time.Duration // when what was sent last comes
	lost bool          // something did not come
}

// toServer sends something, behind all that was sent before.
func (s *session) toServer(run func()) {
	s.send(&s.out, s.f.machine, s.s.machine, func(generation int) {
		s.s.enter(s.s.life, func() {
			if s.s.accepted[s.index] == generation && !s.out.lost {
				run()
			}
		})
	})
}

// toForwarder does the same the other way.
func (s *session) toForwarder(run func()) {
	s.send(&s.in, s.s.machine, s.f.machine, func(generation int) {
		s.f.enter(s.f.life, func() {
			if s.generation == generation && !s.closed && !s.in.lost {
				run()
			}
		})
	})
}

// send has something arrive, unless it is lost.
func (s *session) send(on *way, from, to *machine, arrive func(generation int)) {
	w, generation := s.f.w, s.generation
	on.at = max(on.at, w.now+w.latency())
	if on.lost || w.isCut(from, to) {
		s.lose(on, generation)
		return
	}
	w.after(on.at-w.now, func() {
		if w.isCut(from, to) {
			s.lose(on, generation)
			return
		}
		arrive(generation)
	})
}

// lose notes that something did not come: nothing does any more.
func (s *session) lose(on *way, generation int) {
	if s.generation == generation && !on.lost {
		on.lost = true
		s.breaks(silence)
	}
}

// breaks the link. Each end notices that for itself.
func (s *session) breaks(within time.Duration) {
	w, generation := s.f.w, s.generation
	s.f.after(w.between(0, within), func() { s.close(generation) })
	s.s.after(w.between(0, within), func() { s.s.left(s, generation) })
}

// stale says whether the server lost its disk, which the forwarder does not know yet.
func (s *session) stale() bool { return s.open && s.since < s.s.lostDisk }

// close it at the forwarder.
func (s *session) close(generation int) {
	if s.closed || s.generation != generation {
		return
	}
	s.open, s.closed = false, true
	for i, l := range s.links {
		if l != nil {
			l.Left()
			s.links[i] = nil
		}
	}
	s.f.after(s.f.w.between(100*time.Millisecond, time.Second), s.dial)
}
