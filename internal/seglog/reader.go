package seglog

import (
	"errors"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// Reader returns the blocks of a log in order. It is for one goroutine. A reader that
// keeps up shares the decoded blocks of the ring, and costs next to nothing. One that
// does not has a file open, which others share, and a decoder, about 16 bytes a series.
type Reader struct {
	// Wait is called while the Remote is read. Nil: until the log is closed.
	Wait Wait

	log  *Log
	next uint64
	file *fileReader
}

// fileReader reads the blocks of one segment.
type fileReader struct {
	seg   *segFile
	f     segReader
	r     *segment.Reader
	frame segment.Frame
}

// ReadAfter returns a reader of the blocks after a sequence. If the next block is not
// kept any more, the error is an *OutOfRangeError. It need not be there yet.
func (l *Log) ReadAfter(seq uint64) (*Reader, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.err != nil {
		return nil, l.err
	}
	if oldest := l.first(); seq+1 < oldest {
		return nil, &OutOfRangeError{Oldest: oldest}
	}
	return &Reader{log: l, next: seq + 1}, nil
}

// ReadSince returns a reader from the start of the oldest segment that may hold a
// sample of at least a time, in ms, or from the tail if there is none. It does not filter
// blocks by the time.
func (l *Log) ReadSince(t int64) (*Reader, error) { return l.readSince(t, false) }

// ReadLocalSince is ReadSince among the segments on this disk.
func (l *Log) ReadLocalSince(t int64) (*Reader, error) { return l.readSince(t, true) }

func (l *Log) readSince(t int64, local bool) (*Reader, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.err != nil {
		return nil, l.err
	}
	for _, s := range l.segs {
		if local && !s.local {
			continue
		}
		if s.max >= t && s.last >= s.first || s.damage != nil {
			return &Reader{log: l, next: s.first}, nil
		}
	}
	return &Reader{log: l, next: l.last + 1}, nil
}

// Next returns the next block, which is shared and read-only, without its new
// series: those are in the state. At the tail it returns nil and no error. Before
// each frame that it decodes, since that is not in memory, it calls step, and gives
// up with its error: the frames before the block in its segment may be many.
//
// A *GapError says that blocks are missing, and that the next call goes on after
// them; a *DamageError that there is nothing after the damage yet; ErrClosed that the
// log was closed; ErrRemote that the next call may succeed.
func (r *Reader) Next(step func() error) (*segment.Block, error) {
	l := r.log
	l.mu.RLock()
	if l.err != nil {
		l.mu.RUnlock()
		r.drop()
		return nil, l.err
	}
	if r.next > l.last {
		l.mu.RUnlock()
		return nil, nil
	}
	if b := l.ring.get(r.next); b != nil {
		l.mu.RUnlock()
		if invariant.On {
			invariant.Check(b.Sequence == r.next, "block %d in the ring in place of %d", b.Sequence, r.next)
		}
		r.drop()
		r.next++
		return b, nil
	}
	if r.file != nil && r.next > r.file.seg.last {
		r.drop()
	}
	seg := l.holding(r.next)
	if r.file != nil {
		seg = r.file.seg // still readable if it has been deleted since
	}
	if seg == nil {
		defer l.mu.RUnlock()
		return nil, r.gap(nil)
	}
	limit := seg.size
	l.mu.RUnlock()
	b, err := r.fromFile(step, seg, limit)
	if errors.Is(err, ErrRemote) {
		return nil, err // The next call goes on where this one stopped.
	}
	if err != nil {
		r.drop()
		var damage *DamageError
		if errors.As(err, &damage) {
			l.mu.RLock()
			defer l.mu.RUnlock()
			return nil, r.gap(damage)
		}
		if errors.Is(err, errDeleted) {
			l.mu.RLock()
			defer l.mu.RUnlock()
			return nil, r.gap(nil)
		}
		return nil, err
	}
	if invariant.On {
		invariant.Check(b.Sequence == r.next, "block %d in %s in place of %d", b.Sequence, seg.path, r.next)
	}
	r.next = b.Sequence + 1
	return b, nil
}

// SkipTo passes over the blocks up to a sequence. It never goes back.
func (r *Reader) SkipTo(sequence uint64) {
	if sequence < r.next {
		return
	}
	r.drop()
	r.next = sequence + 1
}

// Close frees what the reader holds.
func (r *Reader) Close() error {
	r.drop()
	return nil
}

// Bytes returns about what the reader holds in memory.
func (r *Reader) Bytes() int64 {
	if r.file == nil {
		return 0
	}
	return r.file.r.Bytes()
}

func (r *Reader) drop() {
	if r.file != nil {
		r.file.f.close()
		r.file = nil
	}
}

// errDeleted says that retention deleted a segment before it was opened, or before all of
// it was read from the Remote.
var errDeleted = errors.New("segment was deleted")

// gap moves the reader to the next segment, and returns the error that says so, or the
// damage if there is no next segment. The caller holds the log's lock.
func (r *Reader) gap(cause *DamageError) error {
	g := &GapError{After: r.next - 1, Next: r.log.last + 1}
	var before *segFile
	for _, s := range r.log.segs {
		if s.first > r.next {
			g.Next = s.first
			break
		}
		before = s
	}
	if cause == nil && before != nil {
		cause = before.damage
	}
	if g.Next > r.log.last && cause != nil {
		return cause
	}
	if cause != nil {
		g.Cause = cause
	}
	r.next = g.Next
	return g
}

// fromFile decodes the block r.next from a segment, of which limit bytes may be read.
func (r *Reader) fromFile(step func() error, seg *segFile, limit int64) (*segment.Block, error) {
	if err := step(); err != nil {
		return nil, err
	}
	if r.file == nil {
		f, err := r.log.openSegment(seg, r.Wait)
		if err != nil {
			return nil, r.log.failed(seg, 0, err)
		}
		s, err := segment.NewReader(f, limit)
		if err != nil {
			f.close()
			return nil, r.log.failed(seg, 0, err)
		}
		r.file = &fileReader{seg: seg, f: f, r: s}
	}
	x := r.file
	for {
		if err := x.r.Next(limit, &x.frame); err != nil {
			return nil, r.log.failed(seg, x.r.Offset(), err)
		}
		switch h := &x.frame.Header; {
		case h.Kind == segment.KindBlock && h.Sequence >= r.next:
			return x.frame.Block.Detach(), nil
		case h.Kind == segment.KindKeyframe && h.Flags&segment.FlagLast != 0:
			x.frame.Keyframe = segment.Keyframe{} // It is large, and the segment has no other.
		}
		if err := step(); err != nil {
			return nil, err
		}
	}
}
