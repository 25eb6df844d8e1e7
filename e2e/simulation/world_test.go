package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// epoch is when a simulation begins.
var epoch = time.Unix(1_700_000_000, 0)

// log is what its forwarder wrote, of which everybody has a beginning.
type log struct {
	index  int
	id     segment.LogID
	blocks []block
}

// block is what a request brought.
type block struct {
	request  int
	appended time.Duration
	// elections that the log has come to know.
	elections []segment.Election
}

// world is a deployment in a simulation.
type world struct {
	queue
	schedule
	decisions *decisions
	random    *rand.Rand
	logs      []*log
	cut       []time.Duration // from one machine to another: until when
	faulted   []string        // what went wrong that may not
	telling   bool
	told      []string

	machines   []*machine
	forwarders []*forwarder
	servers    []*server
	senders    []*sender
	bucket     *bucket
	requests   []request
	answers    int
	budget     budget
}

// request is what a sender repeats until it is answered.
type request struct {
	sender   int
	tick     int // of a pair
	answered bool
	taken    bool // its samples were stored once
	dropped  bool // they were not taken, at least once
	excused  bool
}

// play runs a schedule, and returns what was wrong.
func play(s schedule, d *decisions, telling bool) *world {
	w := &world{schedule: s, decisions: d, random: rand.New(rand.NewPCG(s.seed, 2)), telling: telling}
	if s.bucket {
		w.bucket = newBucket(w)
	}
	for i := range s.forwarders {
		w.forwarders = append(w.forwarders, newForwarder(w, i))
	}
	for i := range s.servers {
		w.servers = append(w.servers, newServer(w, i))
	}
	for i := range s.senders {
		w.senders = append(w.senders, newSender(w, i))
	}
	w.cut = make([]time.Duration, len(w.machines)*len(w.machines))
	for _, f := range w.forwarders {
		f.connect()
	}
	for _, f := range w.forwarders {
		f.start()
	}
	for _, s := range w.servers {
		s.start()
	}
	for _, p := range s.posts {
		w.after(p.at, w.senders[p.sender].post)
	}
	for _, f := range s.faults {
		if f.answer == 0 {
			w.after(f.at, func() { w.begin(f) })
		}
	}
	w.postPairs()
	for len(w.faulted) == 0 {
		e, ok := w.next(ends)
		if !ok {
			break
		}
		e.run()
	}
	if len(w.faulted) == 0 {
		w.check()
	}
	return w
}

// answered counts answers to senders.
func (w *world) answered() {
	w.answers++
	for _, f := range w.faults {
		if f.answer == w.answers && w.now < faultsEnd {
			f.lasts = min(f.lasts, healed-w.now)
			w.begin(f)
		}
	}
}

// machine adds one.
func (w *world) machine(name string) *machine {
	m := &machine{w: w, name: name, index: len(w.machines), up: true}
	w.machines = append(w.machines, m)
	return m
}

// newLog begins a log.
func (w *world) newLog() *log {
	l := &log{index: len(w.logs)}
	l.id[0], l.id[15] = byte(w.random.IntN(256)), byte(l.index+1)
	w.logs = append(w.logs, l)
	return l
}

// isCut says whether nothing comes from one machine to another.
func (w *world) isCut(from, to *machine) bool {
	return w.now < w.cut[from.index*len(w.machines)+to.index]
}

// latency of a message: most are fast.
func (w *world) latency() time.Duration {
	d := time.Duration(w.random.Int64N(int64(2 * time.Millisecond)))
	if w.random.IntN(16) == 0 {
		d += time.Duration(w.random.Int64N(int64(500 * time.Millisecond)))
	}
	return d
}

// between returns a random time.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.random.Int64N(int64(most-least)+1))
}

func (w *world) time() time.Time { return epoch.Add(w.now) }

// say notes what happened.
func (w *world) say(format string, args ...any) {
	if w.telling {
		w.told = append(w.told, fmt.Sprintf("%8.3fs ", w.now.Seconds())+fmt.Sprintf(format, args...))
	}
}

// wrong notes what may not happen.
func (w *world) wrong(format string, args ...any) {
	w.faulted = append(w.faulted, fmt.Sprintf("%8.3fs ", w.now.Seconds())+fmt.Sprintf(format, args...))
}
