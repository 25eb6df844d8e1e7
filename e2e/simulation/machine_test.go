package simulation

import "time"

// machine runs one process, and has a disk.
type machine struct {
	w      *world
	name   string
	index  int
	up     bool
	life   int           // a process that was started again is another
	paused time.Duration // until when
	copies []copyOf      // of each log

	failing bool          // the next time that it forces its disk
	slow    time.Duration // its disk

	lostDisk time.Duration // when, 0 for never
}

// copyOf a log on a disk: its blocks after one, up to one. What was written is there for as
// long as the machine has power, what was forced is there afterwards.
type copyOf struct{ after, written, forced int }

// has says whether a block is there.
func (c *copyOf) has(sequence int) bool { return c.after < sequence && sequence <= c.written }

// of returns a machine's copy of a log.
func (m *machine) of(l *log) *copyOf {
	for len(m.copies) <= l.index {
		m.copies = append(m.copies, copyOf{})
	}
	return &m.copies[l.index]
}

// after runs something in the process after a while, unless it ends before. Where it
// is paused, that waits.
func (m *machine) after(d time.Duration, run func()) {
	life := m.life
	m.w.after(d, func() { m.enter(life, run) })
}

func (m *machine) enter(life int, run func()) {
	switch {
	case !m.up || m.life != life:
	case m.paused > m.w.now:
		m.w.after(m.paused-m.w.now, func() { m.enter(life, run) })
	default:
		run()
	}
}

// ends the process.
func (m *machine) end() {
	m.up, m.paused = false, 0
	m.life++
}

// losePower leaves of the disk what was forced, and of the rest what was written by
// itself.
func (m *machine) losePower() {
	for i := range m.copies {
		c := &m.copies[i]
		c.forced += m.w.random.IntN(c.written - c.forced + 1)
		c.written = c.forced
	}
}

// loseDisk leaves nothing.
func (m *machine) loseDisk() {
	clear(m.copies)
	m.lostDisk = m.w.now
}

// send brings something to another machine, unless the way is cut when it leaves or when
// it arrives.
func (m *machine) send(to *machine, d time.Duration, run func()) {
	w := m.w
	if w.isCut(m, to) {
		return
	}
	life := to.life
	w.after(d, func() {
		if !w.isCut(m, to) {
			to.enter(life, run)
		}
	})
}
