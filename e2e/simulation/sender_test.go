package simulation

import (
	"time"

	"github.com/promgrpc/exporter/receiver/assign"
)

// receiverTimeout is how long a receiver waits for a forwarder's answer.
const receiverTimeout = 10 * time.Second

// sender has requests, and repeats each until it is answered, by a receiver of its own.
type sender struct {
	*machine
	number  int
	due     []int // the first is under way
	busy    bool
	silent  time.Duration // until when
	attempt int

	identity   assign.Sender
	forwarders []assign.Forwarder
	met        []int // which process of each forwarder, 0 for none
}

func newSender(w *world, i int) *sender {
	s := &sender{machine: w.machine("sender " + string(rune('1'+i))), number: i, met: make([]int, len(w.forwarders))}
	s.identity = assign.SenderOf("", s.name)
	for _, f := range w.forwarders {
		s.forwarders = append(s.forwarders, assign.New(f.name))
	}
	return s
}

// post another request.
func (s *sender) post() { s.add(request{sender: s.number}) }

func (s *sender) add(r request) {
	w := s.w
	if w.now < s.silent {
		return
	}
	w.requests = append(w.requests, r)
	s.due = append(s.due, len(w.requests)-1)
	if !s.busy {
		s.busy = true
		s.try()
	}
}

// try the first request that is due.
func (s *sender) try() {
	w := s.w
	chosen := s.choose()
	if chosen < 0 {
		s.again()
		return
	}
	f := w.forwarders[chosen]
	s.attempt++
	attempt, request, answered := s.attempt, s.due[0], false
	settle := func(c code) {
		if attempt != s.attempt || answered {
			return
		}
		answered = true
		s.forwarders[chosen].Answered(outcomes[c], w.time())
		if c != answeredOK {
			w.say("%s is refused request %d by %s: %v", s.name, request, f.name, c)
			s.again()
			return
		}
		w.say("%s is answered request %d by %s", s.name, request, f.name)
		w.requests[request].answered = true
		w.answered()
		s.due = s.due[1:]
		if s.busy = len(s.due) > 0; s.busy {
			s.try()
		}
	}
	s.send(f.machine, w.latency(), func() {
		f.serve(request, func(c code) {
			f.send(s.machine, w.latency(), func() { settle(c) })
		})
	})
	s.after(receiverTimeout, func() { settle(unanswered) })
}

// outcomes of answers.
var outcomes = [...]assign.Outcome{answeredOK: assign.Taken, unavailable: assign.Failed, unconfirmed: assign.Unconfirmed, unanswered: assign.Failed}

// choose a forwarder, of those that are connected by now.
func (s *sender) choose() int {
	w := s.w
	for i, f := range w.forwarders {
		there := 0
		if f.up && !w.isCut(s.machine, f.machine) && !w.isCut(f.machine, s.machine) {
			there = f.life + 1
		}
		if s.met[i] == there {
			continue
		}
		if s.met[i] != 0 {
			s.forwarders[i].Lost()
		}
		if there != 0 {
			s.forwarders[i].Connected(w.time())
		}
		s.met[i] = there
	}
	return w.decisions.choose(s.identity, s.forwarders, w.time())
}

// again tries after a pause.
func (s *sender) again() { s.after(s.w.between(100*time.Millisecond, 3*time.Second), s.try) }

// postPairs has the senders of a pair send the same, at regular times.
func (w *world) postPairs() {
	if !w.pair {
		return
	}
	tick := 0
	at := func(d time.Duration) {
		n := tick
		tick++
		for _, s := range w.senders[:2] {
			w.after(d+time.Duration(s.number)*time.Second/4, func() { s.add(request{sender: s.number, tick: n}) })
		}
	}
	for d := time.Second; d < faultsEnd; d += 8 * time.Second {
		at(d)
	}
	for d := healed; d < settled+20*time.Second; d += 15 * time.Second {
		at(d)
	}
}
