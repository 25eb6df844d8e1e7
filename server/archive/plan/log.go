package plan

import (
	"fmt"
	"time"

	"github.com/promgrpc/exporter/internal/layout"
)

// Segment is what a server has of a segment on its disk, in whole frames.
type Segment struct {
	Name        string
	First, Last uint64 // Last is First-1 while there is no block
	Size        int64
	Sealed      bool // it has its footer
	Damaged     bool
}

// Verb says what is to be done with an object.
type Verb int

const (
	// Wait until the time that comes with the step, or until the log grows.
	Wait Verb = iota
	// Look whether the object is there, and how large it is.
	Look
	// Create the object, unless it is there.
	Create
	// Delete the object.
	Delete
)

// Step is what to do next for a log.
type Step struct {
	Do      Verb
	Segment string
	Piece   bool  // of the segment, from Offset on; otherwise the sealed one
	Offset  int64 // 0 for the sealed one
	Size    int64 // of what is to be created
	// Check says that what is there before is somebody else's: it has to be compared with
	// what is on the disk, before anything is put behind it.
	Check bool
	// Until is when to ask again, of a Wait.
	Until time.Time
}

// patience is after how many intervals in which nothing came a server does what another
// one was to do.
const patience = 3

// Log plans for one log. It begins with what a list says, and learns from what comes of
// its steps. It is for one goroutine.
type Log struct {
	interval time.Duration
	jitter   time.Duration
	objects  map[string]*object
	floor    uint64    // of the bucket's retention: what ends before is not wanted
	mine     bool      // this server sends, by what is known
	begun    time.Time // when planning began
	diverged string
}

// object is what is known of a segment in the bucket.
type object struct {
	sealed  int64 // size, 0: it is not there as far as is known
	pieces  []layout.Piece
	whole   time.Time // when the segment was seen to be sealed on the disk
	looked  bool      // for the sealed one, lately, and it was not there
	exists  bool      // a piece at the end of the chain, of unknown size
	missing bool      // it was looked for, and not there
	due     time.Time // when a piece may be looked for, or created
	heard   time.Time // when another server was last known to send of it
	tried   int64     // size of what was being created when no answer came
	clear   bool      // this server deletes the pieces when the sealed one is there
}

// NewLog plans for a log from a time on: of the open segment a piece goes at every
// interval. The jitter, below the interval, is another one at every server.
func NewLog(now time.Time, interval, jitter time.Duration) *Log {
	return &Log{interval: interval, jitter: jitter, objects: map[string]*object{}, begun: now}
}

func (l *Log) object(name string) *object {
	o := l.objects[name]
	if o == nil {
		o = &object{}
		l.objects[name] = o
	}
	return o
}

// end of the chain of pieces.
func (o *object) end() int64 {
	if n := len(o.pieces); n > 0 {
		return o.pieces[n-1].Offset + o.pieces[n-1].Size
	}
	return 0
}

// Listed takes what a list says of a segment: the size of the sealed object, 0 for none,
// and the pieces in the order of their offsets. What is known besides stays: a list may
// lag.
func (l *Log) Listed(name string, sealed int64, pieces []layout.Piece) {
	o := l.object(name)
	if sealed > 0 {
		// Who is to delete what is left has been restarted, perhaps.
		o.sealed, o.pieces, o.clear = sealed, pieces, true
		return
	}
	if chain := layout.Chain(pieces); len(chain) > len(o.pieces) {
		o.pieces, o.exists, o.missing = chain, false, false
	}
}

// Gone takes that others have deleted the objects of a segment.
func (l *Log) Gone(name string) { delete(l.objects, name) }

// LastPiece returns the last of the pieces of a segment that continue each other.
func (l *Log) LastPiece(name string) layout.Piece {
	if o := l.objects[name]; o != nil && len(o.pieces) > 0 {
		return o.pieces[len(o.pieces)-1]
	}
	return layout.Piece{}
}

// SetFloor says that the bucket's retention removes what is before a sequence.
func (l *Log) SetFloor(first uint64) { l.floor = max(l.floor, first) }

// Diverge ends it: the bucket has other bytes than this server. Nothing more is done for
// the log.
func (l *Log) Diverge(why string) {
	if l.diverged == "" {
		l.diverged = why
	}
}

// Diverged says why nothing is done for the log, "" if it is.
func (l *Log) Diverged() string { return l.diverged }

// Next returns what to do next with what this server has of the log, oldest first. Each
// step but a Wait is to be answered by one of Found, Missing, Created, Exists, Deleted
// and Failed.
func (l *Log) Next(now time.Time, local []Segment) Step {
	wait := Step{Until: now.Add(time.Hour)}
	hole := false
	heard := l.begun // of another that sends this segment, or sent the one before
	for i := range local {
		s := &local[i]
		if l.diverged != "" {
			break
		}
		if !l.wanted(s) {
			continue
		}
		o := l.object(s.Name)
		step := l.segment(now, s, later(heard, o.heard))
		if hole && step.Do == Create {
			// What is in the bucket has no hole that can be avoided.
			step = Step{Until: now.Add(l.interval)}
		}
		if step.Do != Wait {
			step.Segment = s.Name
			return step
		}
		_, whole := l.Held(*s)
		hole = hole || !whole
		heard = later(l.begun, o.heard)
		if !step.Until.IsZero() && step.Until.Before(wait.Until) {
			wait.Until = step.Until
		}
	}
	return wait
}

// wanted says whether a segment is for the bucket: one without blocks may be replaced by
// another.
func (l *Log) wanted(s *Segment) bool {
	return !s.Damaged && s.Last >= s.First && s.Last >= l.floor
}

// segment returns what to do for one segment.
func (l *Log) segment(now time.Time, s *Segment, heard time.Time) Step {
	o := l.object(s.Name)
	switch there := max(o.sealed, o.end()); {
	case s.Sealed && there > s.Size, o.sealed > 0 && o.sealed < s.Size:
		l.Diverge(fmt.Sprintf("segment %s has %d bytes in the bucket, and %d here", s.Name, there, s.Size))
		return Step{}
	case o.sealed > 0:
		if n := len(o.pieces); o.clear && n > 0 {
			return Step{Do: Delete, Piece: true, Offset: o.pieces[n-1].Offset}
		}
		return Step{}
	case s.Sealed && (o.end() >= s.Size || !l.mine || len(o.pieces) == 0):
		return l.sealed(now, s, o, heard)
	case s.Size > o.end():
		return l.piece(now, s, o, heard)
	}
	return Step{}
}

// sealed returns what to do for a segment that is complete here: who sends does so at
// once, others when it has not come for a while.
func (l *Log) sealed(now time.Time, s *Segment, o *object, heard time.Time) Step {
	if o.whole.IsZero() {
		o.whole = now
	}
	due := o.whole
	if !l.mine {
		due = later(o.whole, heard).Add(l.patience())
	}
	switch {
	case now.Before(due):
		return Step{Until: due}
	case !l.mine && !o.looked || o.exists:
		return Step{Do: Look}
	}
	return Step{Do: Create, Size: s.Size}
}

// piece returns what to do for the part of a segment that is not in the bucket: who sends
// does so at every interval. The others look as often for what comes of it, and send when
// nothing has come for a while.
func (l *Log) piece(now time.Time, s *Segment, o *object, heard time.Time) Step {
	end := o.end()
	look := Step{Do: Look, Piece: true, Offset: end}
	create := Step{Do: Create, Piece: true, Offset: end, Size: s.Size - end, Check: !l.mine}
	if o.due.IsZero() && !l.mine {
		o.due = now.Add(l.jitter)
	}
	switch {
	case o.exists:
		return look
	case s.Sealed && l.mine:
		return create // The last, without waiting for its time: the sealed one takes longer.
	case now.Before(o.due):
		return Step{Until: o.due}
	case l.mine:
		return create
	case !o.missing:
		return look
	}
	if due := heard.Add(l.patience()); now.Before(due) {
		o.missing, o.due = false, now.Add(l.interval)
		return Step{Until: o.due}
	}
	if !o.looked {
		return Step{Do: Look} // A server that is behind: others may have sealed it long ago.
	}
	return create
}

func (l *Log) patience() time.Duration { return patience*l.interval + l.jitter }

// Found takes that the object of a step is there, with a size.
func (l *Log) Found(now time.Time, s Step, size int64) {
	o := l.object(s.Segment)
	ours := o.tried > 0 && o.tried == size
	o.exists, o.missing, o.looked, o.tried = false, false, false, 0
	l.mine = ours
	if !ours {
		o.heard = now
	}
	if !s.Piece {
		o.sealed, o.clear = size, o.clear || ours
		return
	}
	if s.Offset != o.end() || size <= 0 {
		return
	}
	o.pieces = append(o.pieces, layout.Piece{Offset: s.Offset, Size: size})
	if o.due = now.Add(l.interval / 2); ours { // half: to come closer to one that is ahead
		o.due = now.Add(l.interval)
	}
}

// Missing takes that the object of a step is not there.
func (l *Log) Missing(_ time.Time, s Step) {
	o := l.object(s.Segment)
	o.exists = false
	if s.Piece {
		o.missing = true
	} else {
		o.looked = true
	}
}

// Created takes that this server created the object of a step.
func (l *Log) Created(now time.Time, s Step) {
	o := l.object(s.Segment)
	l.mine = true
	o.exists, o.missing, o.looked, o.tried = false, false, false, 0
	if !s.Piece {
		o.sealed, o.clear = s.Size, true
		return
	}
	o.clear = true // A server that knew nothing of it may have made the sealed one.
	if s.Offset == o.end() {
		o.pieces = append(o.pieces, layout.Piece{Offset: s.Offset, Size: s.Size})
	}
	o.due = now.Add(l.interval)
}

// Exists takes that the object of a step could not be created, since it is there. It is
// looked at next.
func (l *Log) Exists(now time.Time, s Step) {
	o := l.object(s.Segment)
	o.exists, o.looked = true, false
	if o.tried == 0 {
		l.mine, o.heard = false, now
	}
}

// Deleted takes that the object of a step is not there any more.
func (l *Log) Deleted(s Step) {
	o := l.object(s.Segment)
	if n := len(o.pieces); n > 0 && o.pieces[n-1].Offset == s.Offset {
		o.pieces = o.pieces[:n-1]
	}
}

// Failed takes that nobody knows what became of a step: what was to be created may be
// there.
func (l *Log) Failed(s Step) {
	if s.Do == Create {
		l.object(s.Segment).tried = s.Size
	}
}

// Archived returns the last block of what is in the bucket without a hole after the
// oldest segment here. Of a chain that ends within what is here the last block is not
// known: what the segment before ends with counts, unless covered says it.
func (l *Log) Archived(local []Segment, covered func(s Segment, end int64) uint64) uint64 {
	var last uint64
	for _, s := range local {
		o := l.objects[s.Name]
		switch {
		case s.Last < s.First:
			return last
		case s.Last < l.floor:
			last = s.Last
		case o == nil:
			return last
		case o.sealed > 0 || o.end() >= s.Size:
			last = s.Last
		case o.end() > 0:
			return max(last, covered(s, o.end()))
		default:
			return last
		}
	}
	return last
}

// Held says how much of a segment is in the bucket, and whether all of it.
func (l *Log) Held(s Segment) (bytes int64, whole bool) {
	o := l.objects[s.Name]
	switch {
	case o == nil:
		return 0, false
	case o.sealed > 0:
		return min(o.sealed, s.Size), true
	}
	return min(o.end(), s.Size), o.end() >= s.Size
}

// Pending is how many bytes are here and not in the bucket yet.
func (l *Log) Pending(local []Segment) int64 {
	var n int64
	for _, s := range local {
		if l.wanted(&s) {
			held, _ := l.Held(s)
			n += s.Size - held
		}
	}
	return n
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
