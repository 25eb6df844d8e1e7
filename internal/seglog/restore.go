package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/promgrpc/exporter/internal/segment"
)

// active is the segment that is being written.
type active struct {
	seg     *segFile
	f       file
	decoder *segment.Decoder
	tail    tail
}

// side is what the two that write a log do differently when they open it.
type side int

const (
	// writing: what is behind a bad frame may have been committed. It is damage
	// if a later frame says that the bad one had reached the disk.
	writing side = iota
	// mirroring: everything is to be had again from the writer, and nothing
	// was forced to the disk. The file is cut at the first bad frame.
	mirroring
)

// errTorn says that a segment has no whole keyframe, and so no committed data.
var errTorn = errors.New("torn rotation")

// restore looks at the segments of a log and rebuilds the state from the newest
// that is whole. A newest segment whose keyframe is incomplete is removed:
// nothing was committed in it. The result is nil if there is no segment.
func (s *Store) restore(l *Log, files []*segFile, a Applier, as side) (*active, error) {
	for _, f := range files[:max(len(files)-1, 0)] {
		if f.inspect(s.fs, l.id); f.damage != nil {
			s.sayDamaged(f.damage)
		}
	}
	for n := len(files); n > 0; n-- {
		newest := files[n-1]
		act, err := s.restoreNewest(l, newest, a, as)
		if err == nil {
			l.mu.Lock() // Retention looks at it already.
			l.segs, l.last, l.sum = files[:n], newest.last, newest.sum
			l.mu.Unlock()
			s.sayMissing(l)
			return act, nil
		}
		if !errors.Is(err, errTorn) {
			return nil, err
		}
		if as == writing && newest.first > 1 && (n == 1 || files[n-2].last != newest.first-1) {
			// The sequences before it would be given again.
			return nil, &DamageError{File: newest.path, Err: err}
		}
		size := newest.size
		if err := s.fs.Remove(newest.path); err != nil {
			return nil, err
		}
		s.metrics.torn.Add(float64(size))
		s.log.Warn("removed segment without a whole keyframe", "file", newest.path, "bytes", size, "err", err)
	}
	return nil, nil
}

// sayMissing logs holes between the segments: readers get a GapError there.
func (s *Store) sayMissing(l *Log) {
	for i := 1; i < len(l.segs); i++ {
		if a, b := l.segs[i-1], l.segs[i]; a.damage == nil && a.last+1 != b.first {
			s.log.Warn("blocks are missing between segments", "log_id", l.id.String(),
				"after", a.last, "next", b.first)
		}
	}
}

func (s *Store) restoreNewest(l *Log, seg *segFile, a Applier, as side) (_ *active, err error) {
	f, err := s.fs.Edit(seg.path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	size, err := s.cutBroken(f, seg)
	if err != nil {
		return nil, err
	}
	// Nothing is applied before the keyframe is known to be whole.
	if at, err := checkKeyframe(f, size); err != nil {
		return nil, badStart(f, seg, size, at, as, err)
	}
	r, err := segment.NewReader(f, size)
	if err != nil {
		return nil, &DamageError{File: seg.path, Err: err}
	}
	if err := seg.setHeader(r.Header(), l.id); err != nil {
		return nil, &DamageError{File: seg.path, Err: err}
	}
	act := &active{seg: seg, f: f, decoder: r.Decoder(), tail: seg.tail()}
	act.tail.size = segment.HeaderSize
	var frame segment.Frame
	for {
		keep := as == mirroring && size-r.Offset() < int64(s.o.RingBytes)/8
		err := r.Next(size, &frame)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if err := s.cutTail(act, size, as, err); err != nil {
				return nil, err
			}
			break
		}
		if err := apply(a, &frame); err != nil {
			return nil, fmt.Errorf("rebuild from %s at offset %d: %w", seg.path, frame.Offset, err)
		}
		act.take(&frame.Header)
		if keep && frame.Header.Kind == segment.KindBlock {
			l.ring.push(frame.Block.Detach())
		}
	}
	t := act.tail
	seg.size, seg.last, seg.sum, seg.min, seg.max, seg.sealed = t.size, t.last, t.sum, t.min, t.max, t.sealed
	return act, nil
}

// take takes a frame over that has been read or written.
func (a *active) take(h *segment.FrameHeader) {
	if h.Kind == segment.KindBlock {
		a.seg.index.add(h.Sequence, a.tail.size)
	}
	a.tail.take(h)
	if h.Kind == segment.KindKeyframe {
		a.seg.keyEnd = a.tail.size
	}
}

// cutBroken cuts off what a broken writer of this process could not, and
// returns the size of the file.
func (s *Store) cutBroken(f file, seg *segFile) (int64, error) {
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	cut, ok := s.cut[seg.path]
	s.mu.Unlock()
	if ok && cut < size {
		if err := f.Truncate(cut); err != nil {
			return 0, fmt.Errorf("cut %s to what is durable: %w", seg.path, err)
		}
		size = cut
	}
	s.mu.Lock()
	delete(s.cut, seg.path)
	s.mu.Unlock()
	seg.size = size
	return size, nil
}

// checkKeyframe reports whether header and keyframe are whole, and where not.
func checkKeyframe(f file, size int64) (int64, error) {
	if _, err := segment.NewReader(f, size); err != nil {
		return 0, err
	}
	frames := segment.NewFrameReader(f, segment.HeaderSize)
	for {
		h, _, err := frames.Next(size)
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("keyframe: %w", segment.ErrShort)
		}
		if err == nil && h.Kind != segment.KindKeyframe {
			return frames.Offset(), errStructure
		}
		if err != nil || h.Flags&segment.FlagLast != 0 {
			return frames.Offset(), err
		}
	}
}

var errStructure = errors.New("block before the keyframe is whole")

// badStart tells a torn rotation from damage.
func badStart(f file, seg *segFile, size, at int64, as side, cause error) error {
	if !isBadFrame(cause) {
		return &DamageError{File: seg.path, Offset: at, Err: cause}
	}
	if as == writing {
		later, err := committedAfter(f, at, size)
		if err != nil {
			return err
		}
		if later {
			return &DamageError{File: seg.path, Offset: at, Err: cause}
		}
	}
	return fmt.Errorf("%w: %w", errTorn, cause)
}

// isBadFrame is for what a torn write leaves behind, as opposed to what cannot
// be read or is of another version.
func isBadFrame(err error) bool {
	return (errors.Is(err, segment.ErrShort) || errors.Is(err, segment.ErrCorrupt)) &&
		!errors.Is(err, segment.ErrVersion)
}

// cutTail cuts the file behind its last good frame if what follows is a torn
// tail, and returns the damage if it is not.
func (s *Store) cutTail(act *active, size int64, as side, cause error) error {
	at := act.tail.size
	damage := &DamageError{File: act.seg.path, Offset: at, Err: cause}
	if !isBadFrame(cause) {
		return damage
	}
	// A frame that is whole and yet does not decode was not torn.
	if _, _, err := segment.NewFrameReader(act.f, at).Next(size); err == nil {
		return damage
	}
	if as == writing {
		later, err := committedAfter(act.f, at, size)
		if err != nil {
			return err
		}
		if later {
			return damage
		}
	}
	if err := act.f.Truncate(at); err != nil {
		return fmt.Errorf("cut torn tail of %s: %w", act.seg.path, err)
	}
	if err := act.f.Sync(); err != nil {
		return fmt.Errorf("cut torn tail of %s: %w", act.seg.path, err)
	}
	s.metrics.torn.Add(float64(size - at))
	s.log.Warn("cut torn tail", "file", act.seg.path, "offset", at, "bytes", size-at, "err", cause)
	return nil
}

// committedAfter looks for a frame header behind at, anywhere, that says that
// the bytes at that offset had reached the disk when it was written.
func committedAfter(f file, at, size int64) (bool, error) {
	const window = 1 << 20
	buf := make([]byte, min(window, max(size-at, 0)))
	for from := at; size-from >= segment.FrameHeaderSize; {
		b := buf[:min(int64(len(buf)), size-from)]
		if _, err := f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		for i := 0; ; i++ {
			n := bytes.Index(b[i:], []byte(segment.FrameMagic))
			if n < 0 {
				break
			}
			i += n
			if h, err := segment.ParseFrameHeader(b[i:]); err == nil && int64(h.Synced) > at {
				return true, nil
			}
		}
		if from+int64(len(b)) >= size {
			break
		}
		from += int64(len(b)) - segment.FrameHeaderSize + 1
	}
	return false, nil
}
