package seglog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

const (
	rawChunk = 256 << 10
	// rawPace is the pause after a small chunk. What is appended meanwhile goes
	// together: under load, sending small chunks costs more than everything else that
	// is done with them.
	rawPace  = 10 * time.Millisecond
	rawSmall = rawChunk / 4
)

// ErrAhead says that a position is after the end of the log.
var ErrAhead = errors.New("position is ahead of the log")

// RawChunk is a piece of a segment file: whole frames, after the file header in the
// first one.
type RawChunk struct {
	SegmentName   string
	FirstSequence uint64
	// Start marks the first chunk of a segment.
	Start  bool
	Offset uint64
	// Data is valid until the next call of Next. It is about 256 KiB at most,
	// unless a single frame is larger.
	Data []byte
	// LastSequence is the sequence of the last block up to the end of this chunk.
	LastSequence uint64
}

// RawReader reads the files of a log as they are, in order. It is for one goroutine.
type RawReader struct {
	// Reserve, if not nil, is called with the size of a buffer before the reader makes
	// it in place of the last one. The reader returns its error.
	Reserve func(bytes int64) error
	// Awaited, if not nil, says whether somebody waits for what becomes of the next chunk,
	// which then is read without a pause.
	Awaited func() bool

	log    *Log
	seg    *segFile // nil: at the start of the segment of after+1
	f      segReader
	offset int64
	after  uint64
	from   uint64 // the first sequence to start with, if it is above after+1
	buf    []byte
	paced  time.Time // when the next chunk may be read
	until  Wait      // the context of the call ends
}

// ReadRaw reads the files from the end of a block on. If the block is the last of its
// segment, the footer comes first, whether the other side has it or not. If the next
// block is not kept any more, the reader starts with a *GapError. A position that the
// log has not reached is ErrAhead.
func (l *Log) ReadRaw(ctx context.Context, after uint64) (*RawReader, error) {
	l.mu.RLock()
	if l.err != nil {
		defer l.mu.RUnlock()
		return nil, l.err
	}
	if after > l.last {
		defer l.mu.RUnlock()
		return nil, fmt.Errorf("%w: %d, last sequence is %d", ErrAhead, after, l.last)
	}
	r := &RawReader{log: l, after: after, until: WaitFor(ctx)}
	s := l.holding(after)
	if s == nil {
		l.mu.RUnlock()
		return r, nil
	}
	from, limit := s.index.before(after), s.size
	l.mu.RUnlock()
	_, end, err := l.find(s, after, from, limit, r.wait)
	if err == nil {
		r.f, err = l.openSegment(s, r.wait)
	}
	switch {
	case errors.Is(err, errDeleted):
		return r, nil // It starts with the gap.
	case err != nil:
		return nil, err
	}
	r.seg, r.offset = s, end
	return r, nil
}

// ReadRawLocal reads the files from the oldest on this disk on. What is missing before it,
// here or on the disk, is a *GapError.
func (l *Log) ReadRawLocal(ctx context.Context) (*RawReader, error) {
	from := l.FirstLocal()
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.err != nil {
		return nil, l.err
	}
	return &RawReader{log: l, from: from, until: WaitFor(ctx)}, nil
}

// Next returns the next chunk of what is visible. It waits for one at the tail, and for
// some milliseconds after a small one, unless it is awaited. A *GapError says that segments
// are missing, and that the next call continues with the oldest one after them.
func (r *RawReader) Next(ctx context.Context) (RawChunk, error) {
	r.until = WaitFor(ctx)
	if r.Awaited == nil || !r.Awaited() {
		if err := sleepUntil(ctx, r.paced); err != nil {
			return RawChunk{}, err
		}
	}
	for {
		changed := r.log.changed()
		c, err := r.poll()
		if len(c.Data) > 0 && len(c.Data) < rawSmall {
			r.paced = time.Now().Add(rawPace)
		}
		if err != nil || len(c.Data) > 0 {
			return c, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return RawChunk{}, ctx.Err()
		}
	}
}

// wait is the Wait of the call that is under way.
func (r *RawReader) wait(done <-chan struct{}) error { return r.until(done) }

func sleepUntil(ctx context.Context, t time.Time) error {
	wait := time.Until(t)
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close frees what the reader holds.
func (r *RawReader) Close() error {
	if r.f != nil {
		r.f.close()
		r.f = nil
	}
	r.seg = nil
	return nil
}

func (r *RawReader) poll() (RawChunk, error) {
	l := r.log
	for {
		l.mu.RLock()
		if l.err != nil {
			l.mu.RUnlock()
			return RawChunk{}, l.err
		}
		if r.from > r.after+1 {
			l.mu.RUnlock()
			return RawChunk{}, r.gap(r.from, nil)
		}
		if r.seg != nil && r.offset < r.seg.size {
			limit := r.seg.size
			l.mu.RUnlock()
			return r.read(limit)
		}
		next, last := l.firstAfter(r.after), l.last
		l.mu.RUnlock()
		if next == nil && r.seg == nil && r.after < last {
			return RawChunk{}, r.gap(last+1, nil)
		}
		if next == nil {
			return RawChunk{}, nil
		}
		if next == r.seg {
			if damage := l.damage(next); damage != nil {
				return RawChunk{}, r.skip(next, damage)
			}
			return RawChunk{}, nil // no block in it yet
		}
		if next.first != r.after+1 {
			return RawChunk{}, r.gap(next.first, nil)
		}
		_ = r.Close()
		f, err := l.openSegment(next, r.wait)
		if errors.Is(err, errDeleted) {
			continue
		}
		if err != nil {
			return RawChunk{}, r.giveUp(next, 0, err)
		}
		r.seg, r.f, r.offset = next, f, 0
	}
}

// firstAfter returns the oldest segment whose first sequence is above seq. The caller
// holds the lock.
func (l *Log) firstAfter(seq uint64) *segFile {
	if i := l.segmentAt(seq) + 1; i < len(l.segs) {
		return l.segs[i]
	}
	return nil
}

// gap moves the reader to the start of the segment with a first sequence, and returns the
// error that says so.
func (r *RawReader) gap(next uint64, cause error) error {
	g := &GapError{After: r.after, Next: next, Cause: cause}
	_ = r.Close()
	r.after = next - 1
	return g
}

// giveUp notes that a segment is damaged, and skips the rest of it, as it does with one
// that is kept no more. With any other error the reader stays where it is.
func (r *RawReader) giveUp(s *segFile, offset int64, err error) error {
	err = r.log.failed(s, offset, err)
	r.buf = nil // The Remote may be writing into it.
	var damage *DamageError
	switch {
	case errors.As(err, &damage):
		return r.skip(s, damage)
	case errors.Is(err, errDeleted):
		return r.skip(s, nil)
	}
	_ = r.Close()
	return err
}

// skip moves the reader to the segment after one that is damaged, or kept no more. If
// there is none, it returns the damage.
func (r *RawReader) skip(s *segFile, d *DamageError) error {
	r.log.mu.RLock()
	next := r.log.firstAfter(s.first)
	last := r.log.last
	r.log.mu.RUnlock()
	var cause error
	if d != nil {
		cause = d
	}
	switch {
	case next != nil:
		return r.gap(next.first, cause)
	case d != nil:
		return d
	}
	return r.gap(last+1, nil)
}

func (l *Log) damage(s *segFile) *DamageError {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return s.damage
}

// read returns the whole frames from r.offset on.
func (r *RawReader) read(limit int64) (RawChunk, error) {
	c := RawChunk{
		SegmentName: r.seg.name, FirstSequence: r.seg.first,
		Start: r.offset == 0, Offset: uint64(r.offset),
	}
	size := min(rawChunk, limit-r.offset)
	for {
		if int64(cap(r.buf)) < size || cap(r.buf) > 4*rawChunk && size <= rawChunk {
			if err := r.makeBuffer(size); err != nil {
				return c, err
			}
		}
		r.buf = r.buf[:size]
		if _, err := r.f.ReadAt(r.buf, r.offset); err != nil {
			return c, r.giveUp(r.seg, r.offset, err)
		}
		n, need, err := r.frames(r.buf)
		if err != nil {
			return c, r.giveUp(r.seg, r.offset+int64(n), err)
		}
		if n > 0 {
			c.Data = r.buf[:n:n]
			break
		}
		if need > limit-r.offset {
			return c, r.giveUp(r.seg, r.offset, segment.ErrShort)
		}
		size = need
	}
	r.offset += int64(len(c.Data))
	c.LastSequence = r.after
	return c, nil
}

func (r *RawReader) makeBuffer(size int64) error {
	if r.Reserve != nil {
		if err := r.Reserve(size); err != nil {
			return err
		}
	}
	r.buf = make([]byte, size)
	return nil
}

// frames returns the length of the whole frames that b starts with or, if there is none,
// how long b has to be for one.
func (r *RawReader) frames(b []byte) (n int, need int64, err error) {
	if r.offset == 0 {
		if len(b) < segment.HeaderSize+segment.FrameHeaderSize {
			return 0, segment.HeaderSize + segment.FrameHeaderSize, nil
		}
		n = segment.HeaderSize
	}
	start := n
	for len(b)-n >= segment.FrameHeaderSize {
		h, err := segment.ParseFrameHeader(b[n:])
		if err != nil {
			return n, 0, err
		}
		if h.Len() > int64(len(b)-n) {
			need = int64(n) + h.Len()
			break
		}
		n += int(h.Len())
		if h.Kind == segment.KindBlock {
			if invariant.On {
				invariant.Check(h.Sequence == r.after+1, "raw block %d after block %d", h.Sequence, r.after)
			}
			r.after = h.Sequence
		}
	}
	if n == start {
		return 0, max(need, int64(start)+segment.FrameHeaderSize), nil
	}
	return n, 0, nil
}
