package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/promgrpc/exporter/internal/segment"
)

// Opening a log looks at its older segments by header and footer, and reads the newest
// one whole, since only that can have been written when process or machine died. Its
// frames rebuild the state, up to the first that is bad: cut short, or with a wrong magic
// or checksum.
//
//	          header  keyframe  block  block  bad
//	newest   ├──────┼─────────┼──────┼──────┼▒▒▒▒▒▒▒…
//	                                        at
//
// A bad frame is either torn, half written and confirmed to nobody, or damage, which was
// on the disk and has decayed. Each frame header holds the offset up to which the file
// was on the disk when the frame was written. So a writer looks for one after the bad
// frame, anywhere, whose offset is above at:
//
//	found       the bad frame was on the disk     damage: an error, nothing is changed
//	not found   nobody was told of it             torn: the file is cut at at
//
// A mirror cuts without looking, since its sender has everything. If the keyframe itself
// is torn, so was the rotation: the segment is removed, and the one before is the newest.

// active is the segment that is being written.
type active struct {
	seg     *segFile
	f       file
	decoder *segment.Decoder
	tail    tail
}

// side is who opens a log: a writer, which has to tell a torn tail from damage, or a
// mirror, which gets everything again.
type side int

const (
	writing side = iota
	mirroring
)

// errTorn says that a segment has no whole keyframe, and so no committed block.
var errTorn = errors.New("torn rotation")

// restore rebuilds the state from the newest segment, after it has removed those whose
// rotation was torn. The result is nil if there is no segment.
func (s *Store) restore(l *Log, files []*segFile, a Applier, as side) (*active, error) {
	for _, f := range files[:max(len(files)-1, 0)] {
		if f.inspect(s.fs, l.id); f.damage != nil {
			s.reportDamage(f.damage)
		}
	}
	for n := len(files); n > 0; n-- {
		newest := files[n-1]
		act, err := s.restoreNewest(l, newest, a, as)
		if err == nil {
			l.mu.Lock() // Retention may be looking at it.
			l.segs, l.last, l.sum = files[:n], newest.last, newest.sum
			l.mu.Unlock()
			s.reportHoles(l)
			return act, nil
		}
		if !errors.Is(err, errTorn) {
			return nil, err
		}
		if as == writing && newest.first > 1 && (n == 1 || files[n-2].last != newest.first-1) {
			// The sequences between the two would be used again.
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

// reportHoles logs holes between segments, where readers get a GapError.
func (s *Store) reportHoles(l *Log) {
	for i := 1; i < len(l.segs); i++ {
		if a, b := l.segs[i-1], l.segs[i]; a.damage == nil && a.last+1 != b.first {
			s.log.Warn("blocks are missing between segments", "log_id", l.id.String(),
				"after_sequence", a.last, "next_sequence", b.first)
		}
	}
}

// restoreNewest rebuilds the state from a segment, and cuts its torn tail. It returns
// errTorn if its keyframe is not whole.
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
	seg.forget() // It may have been among the older ones.
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
		act.extend(&frame.Header)
		if frame.Header.Kind == segment.KindBlock {
			b := frame.Block.Detach() // a may keep its values.
			if keep {
				l.ring.push(b)
			}
		}
	}
	t := act.tail
	seg.size, seg.last, seg.sum, seg.min, seg.max, seg.sealed = t.size, t.last, t.sum, t.min, t.max, t.sealed
	return act, nil
}

// extend moves the tail to after a frame that was read or written.
func (a *active) extend(h *segment.FrameHeader) {
	if h.Kind == segment.KindBlock {
		a.seg.index.add(h.Sequence, a.tail.size)
	}
	a.tail.extend(h)
	if h.Kind == segment.KindKeyframe {
		a.seg.keyEnd = a.tail.size
	}
}

// cutBroken cuts off what a broken writer of this process could not cut off, and returns
// the size of the file.
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

// checkKeyframe returns an error unless header and keyframe are whole, and where it is.
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

// badStart returns errTorn for a torn rotation, and the damage otherwise.
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

// isBadFrame reports whether an error may be due to a torn write. A failed read or
// another version is not.
func isBadFrame(err error) bool {
	return (errors.Is(err, segment.ErrShort) || errors.Is(err, segment.ErrCorrupt)) &&
		!errors.Is(err, segment.ErrVersion)
}

// cutTail cuts the file after its last good frame if what follows is a torn tail, and
// returns the damage if it is not.
func (s *Store) cutTail(act *active, size int64, as side, cause error) error {
	at := act.tail.size
	damage := &DamageError{File: act.seg.path, Offset: at, Err: cause}
	if !isBadFrame(cause) {
		return damage
	}
	// A whole frame that does not decode was not torn.
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

// committedAfter looks for a frame header after at, anywhere, that was written when the
// byte at that offset was on the disk.
func committedAfter(f file, at, size int64) (bool, error) {
	const atOnce = 1 << 20
	buf := make([]byte, min(atOnce, max(size-at, 0)))
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
