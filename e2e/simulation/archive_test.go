package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/layout"
	"github.com/promgrpc/exporter/server/archive/plan"
)

const (
	// bucketInterval is --bucket.interval.
	bucketInterval = 5 * time.Second
	// listEvery is how often the bucket is listed again.
	listEvery = 60 * time.Second
	// pauseAfterFailure of the bucket.
	pauseAfterFailure = time.Second
)

// archive brings a server's logs into the bucket.
type archive struct {
	s      *server
	listed bool
	logs   []*archived
}

// archived is one log.
type archived struct {
	a       *archive
	log     *log
	plan    planning
	busy    bool
	lost    bool // the last answer
	asked   int  // which wait counts
	local   []plan.Segment
	written int
	after   int
}

// segmentNames of all logs.
var segmentNames = func() (names []string) {
	for i := range 64 {
		names = append(names, fmt.Sprintf("20261128T000000.000Z-%020d.seg", i*blocksInSegment+1))
	}
	return names
}()

func newArchive(s *server) *archive {
	a := &archive{s: s}
	s.after(s.w.latency(), a.list)
	return a
}

// list what is there, again and again; before that nothing is done.
func (a *archive) list() {
	var seen []object
	a.s.w.bucket.call(a.s, func() (result, int64) {
		seen = a.s.w.bucket.list()
		return done, 0
	}, func(r result, _ int64) {
		if r == failed {
			a.s.after(pauseAfterFailure, a.list)
			return
		}
		a.listed = true
		for _, l := range a.s.w.logs {
			of := a.of(l)
			of.tell(seen)
			of.next()
		}
		a.s.after(listEvery, a.list)
	})
}

// of returns what is done with a log.
func (a *archive) of(l *log) *archived {
	for _, of := range a.logs {
		if of.log == l {
			return of
		}
	}
	w := a.s.w
	jitter := time.Duration(w.random.Int64N(int64(bucketInterval)))
	of := &archived{a: a, log: l, plan: w.decisions.plan(w.time(), bucketInterval, jitter)}
	a.logs = append(a.logs, of)
	return of
}

// tell what was listed.
func (of *archived) tell(seen []object) {
	for i := range len(of.log.blocks)/blocksInSegment + 1 {
		sealed, pieces := listed(of.log, i, seen)
		if sealed > 0 || len(pieces) > 0 {
			of.plan.Listed(segmentNames[i], sealed, pieces)
		}
	}
}

// listed is what a list says of a segment.
func listed(l *log, segment int, seen []object) (sealed int64, pieces []layout.Piece) {
	for i := range seen {
		o := &seen[i]
		switch {
		case o.log != l || o.Segment != segmentNames[segment]:
		case o.Piece:
			pieces = append(pieces, layout.Piece{Offset: o.Offset, Size: o.size})
		default:
			sealed = o.size
		}
	}
	slices.SortFunc(pieces, func(a, b layout.Piece) int { return int(a.Offset - b.Offset) })
	return sealed, pieces
}

// covered is the last block that is in so many bytes of a segment.
func (of *archived) covered(s plan.Segment, end int64) uint64 {
	return uint64(of.log.lastIn(int(s.First-1)/blocksInSegment, end))
}

// grew says that there is more of a log.
func (a *archive) grew(l *log) {
	if a.listed {
		a.of(l).next()
	}
}

// segments that are on the server's disk.
func (of *archived) segments() []plan.Segment {
	c := of.a.s.of(of.log)
	first := c.after / blocksInSegment
	if c.written < of.written || c.after != of.after {
		of.local = of.local[:0]
	}
	of.written, of.after = c.written, c.after
	for i := first + max(0, len(of.local)-1); i*blocksInSegment < c.written; i++ {
		s := plan.Segment{
			Name: segmentNames[i], First: uint64(i*blocksInSegment + 1), Last: uint64(min(c.written, (i+1)*blocksInSegment)),
			Size: of.log.sizeOf(i, c.written), Sealed: c.written > (i+1)*blocksInSegment,
		}
		if i-first < len(of.local) {
			of.local[i-first] = s
		} else {
			of.local = append(of.local, s)
		}
	}
	return of.local
}

// next does what is to be done next.
func (of *archived) next() {
	if of.busy {
		return
	}
	w, s := of.a.s.w, of.a.s
	of.asked++
	step := of.plan.Next(w.time(), of.segments())
	if step.Do == plan.Wait {
		asked := of.asked
		if until := step.Until.Sub(epoch); until < ends {
			s.after(until-w.now, func() {
				if of.asked == asked {
					of.next()
				}
			})
		}
		return
	}
	of.busy = true
	o := object{layout.Object{Log: of.log.id, Segment: step.Segment, Piece: step.Piece, Offset: step.Offset}, of.log, step.Size}
	name := w.decisions.name(o)
	overwrite := of.lost && w.decisions.overwrites
	w.bucket.call(s, func() (result, int64) { return w.bucket.do(s, step, name, o, overwrite) }, func(r result, size int64) {
		of.busy = false
		of.came(step, r, size)
	})
}

// do a step.
func (b *bucket) do(s *server, step plan.Step, name string, o object, overwrite bool) (result, int64) {
	switch step.Do {
	case plan.Create:
		r := b.create(name, o, overwrite)
		if r == done {
			b.w.say("%s creates %s with %d bytes", s.name, name, step.Size)
		}
		return r, 0
	case plan.Delete:
		b.w.say("%s deletes %s", s.name, name)
		b.remove(name, o)
	case plan.Look:
		there, ok := b.objects[name]
		if !ok {
			return missing, 0
		}
		return done, there.size
	case plan.Wait:
	}
	return done, 0
}

// came what came of a step.
func (of *archived) came(step plan.Step, r result, size int64) {
	w, s := of.a.s.w, of.a.s
	if r == failed {
		of.lost = step.Do == plan.Create
		of.plan.Failed(step)
		s.after(pauseAfterFailure, of.next)
		return
	}
	of.lost = false
	switch {
	case r == exists:
		of.plan.Exists(w.time(), step)
	case r == missing:
		of.plan.Missing(w.time(), step)
	case step.Do == plan.Look:
		of.plan.Found(w.time(), step, size)
	case step.Do == plan.Create:
		of.plan.Created(w.time(), step)
	default:
		of.plan.Deleted(step)
	}
	if why := of.plan.Diverged(); why != "" {
		w.wrong("%s: log %d diverged: %s", s.name, of.log.index, why)
	}
	of.next()
}
