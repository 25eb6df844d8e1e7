package simulation

import (
	"slices"
	"time"
)

// begin of a fault, which ends by itself.
func (w *world) begin(f fault) {
	processes := w.machines[:len(w.forwarders)+len(w.servers)]
	target, other := processes[f.target%len(processes)], w.machines[f.other%len(w.machines)]
	switch f.kind {
	case kill, powerCut, lost, gone:
		w.down(f, target)
	case blackout:
		for _, m := range processes {
			w.down(fault{kind: powerCut, lasts: f.lasts}, m)
		}
	case pause:
		w.pause(target, f.lasts)
	case partition:
		w.cutOff(target, other, f.lasts)
		w.cutOff(other, target, f.lasts)
	case oneWay:
		w.cutOff(target, other, f.lasts)
	case answersLost:
		for _, s := range w.senders {
			w.cutOff(target, s.machine, f.lasts)
		}
	case isolated:
		for _, m := range w.machines {
			w.cutOff(target, m, f.lasts)
			w.cutOff(m, target, f.lasts)
		}
	case syncFails, slowDisk:
		w.disk(f, target)
	case bucketAway, bucketSlow, bucketRefuses, bucketAnswersLost:
		w.say("%s for %v", names[f.kind], f.lasts)
		w.bucket.fails(f)
	case replicaSilent:
		w.senders[f.target%2].silent = w.now + f.lasts*4
	case kinds:
	}
}

// on returns the forwarder, or else the server, that runs on a machine.
func (w *world) on(m *machine) (*forwarder, *server) {
	if m.index < len(w.forwarders) {
		return w.forwarders[m.index], nil
	}
	return nil, w.servers[m.index-len(w.forwarders)]
}

// down takes a process down, and has it come again.
func (w *world) down(fault fault, m *machine) {
	f, s := w.on(m)
	if !m.up {
		return
	}
	if fault.kind == gone && (f == nil || len(w.forwarders) == 1 || slices.ContainsFunc(w.forwarders, func(f *forwarder) bool { return f.gone })) {
		fault.kind = lost
	}
	if (fault.kind == lost || fault.kind == gone) && !w.budget.spend(w, m) {
		return
	}
	w.say("%s %s", m.name, names[fault.kind])
	// A process that is killed closes its connections, a machine does not.
	within := silence
	if fault.kind == kill {
		within = 100 * time.Millisecond
	}
	if f != nil {
		f.stop(within)
	} else {
		s.stop(within)
	}
	switch fault.kind {
	case powerCut:
		m.losePower()
	case lost, gone:
		m.loseDisk()
	}
	if f != nil && fault.kind != kill {
		// What it may have lost it does not write on.
		f.current = nil
	}
	if fault.kind == lost || fault.kind == gone {
		if f != nil {
			f.mine = nil
		} else {
			s.feeds = nil
		}
	}
	if fault.kind == gone {
		f.gone = true
		return
	}
	w.after(fault.lasts, func() {
		w.say("%s starts", m.name)
		if f != nil {
			f.start()
		} else {
			s.start()
		}
	})
}

// pause a process. Others may miss it.
func (w *world) pause(m *machine, d time.Duration) {
	if !m.up || m.paused > w.now {
		return
	}
	w.say("%s is paused for %v", m.name, d)
	m.paused = w.now + d
	w.miss(m, d)
}

// miss ends links of which one end is not heard for a while.
func (w *world) miss(m *machine, d time.Duration) {
	for _, f := range w.forwarders {
		for _, link := range f.sessions {
			if (f.machine == m || link.s.machine == m) && w.random.Int64N(int64(silence)) < int64(d) {
				link.breaks(silence)
			}
		}
	}
}

// cutOff cuts one way.
func (w *world) cutOff(from, to *machine, d time.Duration) {
	if from == to {
		return
	}
	w.say("nothing comes from %s to %s for %v", from.name, to.name, d)
	until := &w.cut[from.index*len(w.machines)+to.index]
	*until = max(*until, w.now+d)
	for _, f := range w.forwarders {
		for _, link := range f.sessions {
			ends := f.machine == from && link.s.machine == to || f.machine == to && link.s.machine == from
			if ends && w.random.Int64N(int64(silence)) < int64(d) {
				link.breaks(silence)
			}
		}
	}
}

// disk fails or is slow.
func (w *world) disk(fault fault, m *machine) {
	w.say("%s %s", m.name, names[fault.kind])
	if fault.kind == syncFails {
		m.failing = true
		return
	}
	m.slow = min(fault.lasts/4, 2*ackTimeout)
	w.after(fault.lasts, func() { m.slow = 0 })
}

// budget says which disks may be lost: one at a time, until what was answered is on as
// many again as it has to be.
type budget struct {
	lost bool
	at   time.Duration // the last one
}

// spend says whether a machine may be lost now.
func (b *budget) spend(w *world, m *machine) bool {
	if b.lost && !w.redundant(b.at) {
		return false
	}
	b.lost, b.at = true, w.now
	if w.confirmations == 0 {
		w.excuse(m)
	}
	return true
}

// redundant says whether all that was answered, and was written before a time, is on one
// disk more than have to confirm it.
func (w *world) redundant(before time.Duration) bool {
	want := min(w.confirmations+1, len(w.servers))
	for _, l := range w.logs {
		for i, b := range l.blocks {
			if b.appended > before || b.request < 0 || !w.requests[b.request].answered {
				continue
			}
			if w.disks(l, i+1, nil) < want {
				return false
			}
		}
	}
	return true
}

// disks counts those that have a block, but for a machine's.
func (w *world) disks(l *log, sequence int, but *machine) (n int) {
	for _, m := range w.machines {
		if m != but && l.index < len(m.copies) && m.copies[l.index].forced >= sequence && m.copies[l.index].after < sequence {
			n++
		}
	}
	return n
}

// excuse what only this machine has: nobody promised more.
func (w *world) excuse(m *machine) {
	for _, l := range w.logs {
		for i, b := range l.blocks {
			if b.request >= 0 && w.disks(l, i+1, m) == 0 {
				w.requests[b.request].excused = true
			}
		}
	}
}
