package seglog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// Log is the readable side of a log that a Writer or Mirror keeps. Its methods
// may be called by any number of goroutines.
type Log struct {
	id    segment.LogID
	dir   string
	store *Store
	// ended says that nobody writes the log any more, so retention may delete all of it.
	ended bool

	mu     sync.RWMutex
	segs   []*segFile // by first sequence; readable ones, keyframe and all
	last   uint64     // visible
	sum    uint32     // of last
	ring   ring
	change broadcast.Signal
	err    error // ErrClosed once closed

	// remote is what the Remote has of the log, remoteOnly that nothing of it is here.
	remote     []RemoteInfo
	remoteOnly bool
	expired    uint64 // blocks before it are not for the Remote any more
	closed     chan struct{}
}

// SegmentInfo describes a file of a log.
type SegmentInfo struct {
	Name string
	// FirstSequence that the segment holds or will hold; LastSequence is below
	// it while there is none.
	FirstSequence, LastSequence uint64
	CreateTime                  time.Time
	// Size in bytes that readers may read.
	Size   int64
	Sealed bool
	// MinTime and MaxTime of the samples in its blocks, in ms; MinTime is above
	// MaxTime when there are none.
	MinTime, MaxTime int64
	// Archived says that the Remote has all of it, Remote that it is not on this disk.
	Archived, Remote bool
	// Err is a *DamageError when the segment is known to be damaged.
	Err error
}

func newLog(s *Store, id segment.LogID) *Log {
	return &Log{id: id, dir: s.dir(id), store: s, ring: ring{limit: s.o.RingBytes}, closed: make(chan struct{})}
}

// ID of the log.
func (l *Log) ID() segment.LogID { return l.id }

// First is the oldest sequence on the disk or at the Remote or, if there is none, the next.
func (l *Log) First() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.first()
}

func (l *Log) first() uint64 {
	if len(l.segs) > 0 {
		return l.segs[0].first
	}
	return l.last + 1
}

// Last is the last sequence that readers see.
func (l *Log) Last() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last
}

// Segments that readers see, oldest first.
func (l *Log) Segments() []SegmentInfo {
	l.mu.RLock()
	defer l.mu.RUnlock()
	infos := make([]SegmentInfo, len(l.segs))
	for i, s := range l.segs {
		infos[i] = s.info()
	}
	return infos
}

// SegmentsWithin are those that may have samples between two timestamps, in ms, both
// included. Of a damaged one it is not known.
func (l *Log) SegmentsWithin(from, to int64) (infos []SegmentInfo) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.segs {
		if s.damage != nil || s.min <= to && s.max >= from {
			infos = append(infos, s.info())
		}
	}
	return infos
}

// Oldest segment that readers see, false if there is none.
func (l *Log) Oldest() (SegmentInfo, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.segs) == 0 {
		return SegmentInfo{}, false
	}
	return l.segs[0].info(), true
}

// Newest segment that readers see, false if there is none.
func (l *Log) Newest() (SegmentInfo, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.segs) == 0 {
		return SegmentInfo{}, false
	}
	return l.segs[len(l.segs)-1].info(), true
}

// MinTime of all samples of the log, in ms; math.MaxInt64 if there are none.
func (l *Log) MinTime() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	earliest := int64(math.MaxInt64)
	for _, s := range l.segs {
		earliest = min(earliest, s.min)
	}
	return earliest
}

// MaxTime of all samples of the log, in ms; math.MinInt64 if there are none.
func (l *Log) MaxTime() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	latest := int64(math.MinInt64)
	for _, s := range l.segs {
		latest = max(latest, s.max)
	}
	return latest
}

// LocalSize of all segments on this disk.
func (l *Log) LocalSize() (size int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, s := range l.segs {
		if s.local {
			size += s.size
		}
	}
	return size
}

// created is when the newest segment was created, in ms; false if there is none on this
// disk.
func (l *Log) created() (int64, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.segs) == 0 || l.remoteOnly {
		return 0, false
	}
	return l.segs[len(l.segs)-1].header.CreateTime, true
}

// Modified is when the newest segment's file was written last, by the clock of this
// machine: what the log says of times is by the clock of its writer. Zero: there is none.
func (l *Log) Modified() time.Time {
	newest, ok := l.Newest()
	if !ok {
		return time.Time{}
	}
	return l.modified()[newest.Name]
}

// modified says of files of the log when they were written last, as far as that can be
// seen.
func (l *Log) modified() map[string]time.Time {
	entries, err := l.store.fs.ReadDir(l.dir)
	if err != nil {
		return nil
	}
	at := map[string]time.Time{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			at[e.Name()] = info.ModTime()
		}
	}
	return at
}

// Checksum returns the checksum of a block, by which two copies of the log are
// compared; false if the block is not kept any more or not there yet.
func (l *Log) Checksum(ctx context.Context, seq uint64) (uint32, bool, error) {
	if seq == 0 {
		return 0, false, nil
	}
	l.mu.RLock()
	if seq == l.last && len(l.segs) > 0 {
		defer l.mu.RUnlock()
		return l.sum, true, nil
	}
	if i := l.segmentAt(seq + 1); i >= 0 && l.segs[i].first == seq+1 && l.segs[i].header.Checksum != 0 {
		defer l.mu.RUnlock()
		return l.segs[i].header.PrevChecksum, true, nil
	}
	s := l.holding(seq)
	switch {
	case s == nil:
		defer l.mu.RUnlock()
		return 0, false, nil
	case s.sealed && seq == s.last:
		defer l.mu.RUnlock()
		return s.sum, true, nil
	}
	from, limit := s.index.before(seq), s.size
	l.mu.RUnlock()
	h, _, err := l.find(s, seq, from, limit, WaitFor(ctx))
	if errors.Is(err, errDeleted) {
		return 0, false, nil
	}
	return h.Checksum, err == nil, err
}

// holding returns the segment that has a block. The caller holds the lock.
func (l *Log) holding(seq uint64) *segFile {
	if i := l.segmentAt(seq); i >= 0 && seq <= l.segs[i].last && seq <= l.last {
		return l.segs[i]
	}
	return nil
}

// find skips frames from an offset to a block, and returns its header and the offset of
// its end.
func (l *Log) find(s *segFile, seq uint64, from, limit int64, wait Wait) (segment.FrameHeader, int64, error) {
	f, err := l.openSegment(s, wait)
	if err != nil {
		return segment.FrameHeader{}, 0, err
	}
	defer f.close()
	frames := segment.NewFrameReader(f, from)
	for {
		h, err := frames.Skip(limit)
		if err == nil && h.Kind == segment.KindBlock && h.Sequence == seq {
			return h, frames.Offset(), nil
		}
		if errors.Is(err, io.EOF) || err == nil && h.Kind == segment.KindBlock && h.Sequence > seq {
			err = fmt.Errorf("%w: block %d is not where it should be", segment.ErrCorrupt, seq)
		}
		if err != nil {
			return h, 0, l.failed(s, frames.Offset(), err)
		}
	}
}

// Rebuild applies to a the keyframe of the segment that holds a sequence, and then the
// segment's blocks up to it.
func (l *Log) Rebuild(seq uint64, a Applier, wait Wait) error { return l.rebuild(seq, false, a, wait) }

// RebuildSegment applies to a the keyframe of the segment that holds a sequence, and
// then all of the segment's blocks: so a knows every series of the segment.
func (l *Log) RebuildSegment(seq uint64, a Applier, wait Wait) error {
	return l.rebuild(seq, true, a, wait)
}

func (l *Log) rebuild(seq uint64, whole bool, a Applier, wait Wait) error {
	l.mu.RLock()
	oldest, last := l.first(), l.last
	// The state after a segment's last block is also the next one's keyframe.
	first := seq + 1
	if whole {
		first = seq
	}
	at := l.segmentAt(first)
	if at < 0 || seq > last {
		l.mu.RUnlock()
		if seq > last {
			return fmt.Errorf("rebuild log %s at %d: last sequence is %d", l.id, seq, last)
		}
		return &OutOfRangeError{Oldest: oldest}
	}
	s := l.segs[at]
	limit, until := s.size, seq
	if whole {
		until = max(seq, s.last)
	}
	l.mu.RUnlock()
	err := l.rebuildFrom(s, limit, until, a, wait)
	if errors.Is(err, errDeleted) {
		return &OutOfRangeError{Oldest: l.First()}
	}
	return err
}

// rebuildFrom applies to a what a segment has up to a block.
func (l *Log) rebuildFrom(s *segFile, limit int64, until uint64, a Applier, wait Wait) error {
	f, err := l.openSegment(s, wait)
	if err != nil {
		return fmt.Errorf("rebuild log %s at %d: %w", l.id, until, err)
	}
	defer f.close()
	r, err := segment.NewReader(f, limit)
	if err != nil {
		return l.failed(s, 0, err)
	}
	var frame segment.Frame
	for {
		if r.Decoder().Keyed() && r.Decoder().Sequence() >= until {
			return nil
		}
		if err := r.Next(limit, &frame); err != nil {
			return l.failed(s, r.Offset(), err)
		}
		if err := apply(a, &frame); err != nil {
			return err
		}
		if frame.Header.Kind == segment.KindBlock {
			frame.Block.Detach() // a may keep its values.
		}
	}
}

func apply(a Applier, f *segment.Frame) error {
	switch f.Header.Kind {
	case segment.KindKeyframe:
		return a.ApplyKeyframe(&f.Keyframe)
	case segment.KindBlock:
		return a.ApplyBlock(f.Block)
	}
	return nil
}

// failed returns the error of reading a segment. It is damage, unless the Remote says that
// it may pass, or nobody waits for it; and errDeleted if the Remote keeps the segment no
// more.
func (l *Log) failed(s *segFile, offset int64, err error) error {
	var givenUp *givenUpError
	switch {
	case errors.As(err, &givenUp):
		return givenUp.err
	case errors.Is(err, ErrRemoteGone):
		l.forget(s)
		return errDeleted
	case errors.Is(err, ErrRemote):
		return fmt.Errorf("segment %s at offset %d: %w", s.name, offset, err)
	case errors.Is(err, errDeleted):
		return errDeleted
	}
	return l.damaged(s, offset, err)
}

// damaged notes that a segment is damaged, and returns the error that says so.
func (l *Log) damaged(s *segFile, offset int64, err error) *DamageError {
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: ends too early", segment.ErrCorrupt)
	}
	d := &DamageError{File: s.path, Offset: offset, Err: err}
	l.mu.Lock()
	known := s.damage != nil
	if !known {
		s.damage = d
	}
	l.mu.Unlock()
	if !known {
		l.store.reportDamage(d)
	}
	return d
}

// add makes a segment readable.
func (l *Log) add(s *segFile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segs = append(l.segs, s)
	if s.first > l.last+1 || l.last == 0 {
		l.last = s.first - 1
	}
	if s.first == l.last+1 {
		l.sum = s.sum
	}
	if len(l.remote) > 0 {
		l.mergeRemote()
	}
	l.change.Wake()
}

// publish makes a segment visible up to a tail. The ring gets the block, if there is
// one.
func (l *Log) publish(s *segFile, t *tail, b *segment.Block) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if invariant.On {
		invariant.Check(t.size >= s.size && t.last >= s.last, "%s: visible up to %+v after block %d at %d", s.path, *t, s.last, s.size)
		invariant.Check(b == nil || b.Sequence == t.last, "%s: block %+v is not the last of %+v", s.path, b, *t)
	}
	s.size, s.last, s.sum = t.size, t.last, t.sum
	s.min, s.max, s.sealed = t.min, t.max, t.sealed
	if s.last > l.last {
		l.last, l.sum = s.last, s.sum
	}
	if b != nil {
		l.ring.push(b)
	}
	l.change.Wake()
}

// tail is the end of a segment: of what was written, or of what is visible.
type tail struct {
	size     int64
	last     uint64
	sum      uint32
	min, max int64
	sealed   bool
}

func (s *segFile) tail() tail {
	return tail{size: s.size, last: s.last, sum: s.sum, min: s.min, max: s.max, sealed: s.sealed}
}

// extend moves the tail to after one more frame.
func (t *tail) extend(h *segment.FrameHeader) {
	t.size += h.Len()
	switch h.Kind {
	case segment.KindBlock:
		if invariant.On {
			invariant.Check(h.Sequence == t.last+1, "block %d after block %d", h.Sequence, t.last)
		}
		t.last, t.sum = h.Sequence, h.Checksum
		t.min, t.max = min(t.min, h.MinTime), max(t.max, h.MaxTime)
	case segment.KindFooter:
		t.sealed = true
	}
}

// changed returns a channel that the next change closes. It is closed already if the
// log is.
func (l *Log) changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		c := make(chan struct{})
		close(c)
		return c
	}
	return l.change.Next()
}

func (l *Log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		close(l.closed)
	}
	l.err = ErrClosed
	l.ring.clear()
	l.change.Wake()
}

// remove makes a segment of the disk invisible to readers that have not opened it, unless
// they can read it from the Remote.
func (l *Log) remove(s *segFile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.local = false; s.archived() {
		s.damage = nil // was that of the file
	} else {
		l.segs = slices.DeleteFunc(l.segs, func(c *segFile) bool { return c == s })
	}
	l.change.Wake()
}

// putBack is the reverse of remove.
func (l *Log) putBack(s *segFile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.local = true; !slices.Contains(l.segs, s) {
		l.segs = slices.Insert(l.segs, l.segmentAt(s.first)+1, s)
	}
}
