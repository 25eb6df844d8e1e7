package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/promgrpc/exporter/internal/segment"
)

// ErrMismatch says that bytes do not fit behind those that a replica has.
var ErrMismatch = errors.New("does not continue the replica")

// Replica takes a log over from its writer, byte for byte. StartSegment and
// Append must not be called concurrently. Bytes that are not whole frames in
// their place are refused with ErrMismatch and leave no trace; after any other
// error the replica is broken for good, as a Writer is.
type Replica struct {
	store   *Store
	log     *Log
	applier Applier

	mu      sync.Mutex // guards err and closed
	err     error
	closed  bool
	act     *active // nil before the first segment
	pending bool    // act has no whole keyframe yet, and is not in the log
	// frames of the bytes that are being taken over, with room for the next.
	frames []*segment.Frame
}

// OpenReplica opens or creates the replica of a log, and rebuilds the state
// from its newest segment. What is torn there is cut: the writer has it.
func (s *Store) OpenReplica(id segment.LogID, a Applier) (*Replica, error) {
	return s.openReplica(id, a, false)
}

// OpenEnded opens a log that was written here and is not any more, to be read, and
// to take over from others what is missing at its end. All of it goes when it is
// older than retention keeps it, or more.
func (s *Store) OpenEnded(id segment.LogID) (*Replica, error) {
	return s.openReplica(id, nothing{}, true)
}

// nothing is the state of a log of which only the files are needed.
type nothing struct{}

func (nothing) ApplyKeyframe(*segment.Keyframe) error { return nil }
func (nothing) ApplyBlock(*segment.Block) error       { return nil }

func (s *Store) openReplica(id segment.LogID, a Applier, ended bool) (*Replica, error) {
	l, files, err := s.openLog(id)
	if err != nil {
		return nil, fmt.Errorf("open replica %s: %w", id, err)
	}
	if l.ended = ended; ended {
		l.ring.limit = 0 // Nobody follows it.
	}
	r := &Replica{store: s, log: l, applier: a}
	if r.act, err = s.restore(l, files, a, replicating); err == nil && r.act != nil {
		err = s.link(l, r.act.seg.name)
	}
	if err != nil {
		if r.act != nil {
			_ = r.act.f.Close()
		}
		s.closeLog(l)
		return nil, fmt.Errorf("open replica %s: %w", id, err)
	}
	s.retain()
	return r, nil
}

// Log is the readable side.
func (r *Replica) Log() *Log { return r.log }

// Position is the last block that the replica has, and its checksum; ok is
// false while it has none.
func (r *Replica) Position() (seq uint64, checksum uint32, ok bool) {
	l := r.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last, l.sum, l.last > 0 && len(l.segs) > 0
}

func (r *Replica) broken() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, r.err)
	}
	if r.closed {
		return ErrClosed
	}
	return nil
}

func (r *Replica) fail(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
		r.store.metrics.writeErrors.Inc()
		r.store.log.Error("replica is broken", "log", r.log.id.String(), "err", err)
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// StartSegment creates the file of a new segment, or empties the present one if
// it has no blocks. A first sequence above the next is a gap; one below it, or
// a name that does not tell the same sequence, is refused.
func (r *Replica) StartSegment(name string, firstSequence uint64) error {
	if err := r.broken(); err != nil {
		return err
	}
	if first, ok := parseName(name); !ok || first != firstSequence {
		return fmt.Errorf("segment %.80q with first sequence %d: %w", name, firstSequence, ErrMismatch)
	}
	last := r.log.Last()
	if firstSequence <= last {
		return fmt.Errorf("segment %s: %w: last sequence is %d", name, ErrMismatch, last)
	}
	if err := r.endSegment(); err != nil {
		return r.fail(err)
	}
	seg := newSegFile(r.log.dir, name, firstSequence)
	f, err := r.store.fs.Create(seg.path)
	if err != nil {
		return r.fail(fmt.Errorf("create segment: %w", err))
	}
	r.act = &active{seg: seg, f: f, decoder: segment.NewDecoder(), tail: seg.tail()}
	r.pending = true
	return nil
}

// endSegment forces the present segment to the disk, so that only the newest
// can be torn; one without blocks is removed.
func (r *Replica) endSegment() error {
	if r.act == nil {
		return nil
	}
	seg := r.act.seg
	empty := r.act.tail.last < seg.first
	if !empty {
		if err := r.act.f.Sync(); err != nil {
			return err
		}
	}
	err := r.act.f.Close()
	r.act = nil
	if err != nil || !empty {
		return err
	}
	r.log.remove(seg)
	return r.store.fs.Remove(seg.path)
}

// Append takes bytes of the present segment over: at its beginning the file
// header, then whole frames. They are verified, written, applied to the state,
// and shown to readers. Bytes that the replica has already are compared and
// passed over. It is not forced to the disk: what a power cut takes, the replica
// asks for again.
func (r *Replica) Append(offset uint64, data []byte) error {
	if err := r.broken(); err != nil {
		return err
	}
	if r.act == nil {
		return fmt.Errorf("no segment is under way: %w", ErrMismatch)
	}
	if r.oldFooter(data) {
		return nil
	}
	data, err := r.unknown(offset, data)
	if err != nil || len(data) == 0 {
		return err
	}
	raw, err := r.verify(data)
	if err != nil {
		return fmt.Errorf("segment %s at offset %d: %w: %w", r.act.seg.path, r.act.tail.size, ErrMismatch, err)
	}
	if raw > largePiece {
		r.store.large <- struct{}{}
		defer func() { <-r.store.large }()
	}
	for len(data) > 0 {
		piece := data
		if raw > decodeAtOnce {
			piece = r.piece(data)
		}
		if err := r.takeOver(piece); err != nil {
			return r.fail(err)
		}
		data = data[len(piece):]
	}
	return nil
}

// A few bytes that are compressed well become very many. So frames are decoded
// together only up to decodeAtOnce bytes, decompressed, or singly; and what has more
// than largePiece waits its turn, since there may be many logs.
const (
	decodeAtOnce = 4 << 20
	largePiece   = 1 << 20
)

// piece returns the beginning of verified bytes, as much as is decoded at once.
func (r *Replica) piece(data []byte) []byte {
	n, raw := 0, int64(0)
	if r.act.tail.size == 0 {
		n = segment.HeaderSize
	}
	for first := true; n < len(data); first = false {
		h, err := segment.ParseFrameHeader(data[n:])
		if err != nil {
			return data // It was verified: decoding says what this is.
		}
		if raw += int64(h.RawLen); raw > decodeAtOnce && !first {
			break
		}
		n += int(h.Len())
	}
	return data[:n]
}

// takeOver decodes, writes, applies and shows verified bytes.
func (r *Replica) takeOver(data []byte) error {
	frames, err := r.decode(data)
	defer r.tidy()
	if err != nil {
		return fmt.Errorf("segment %s at offset %d: %w", r.act.seg.path, r.act.tail.size, err)
	}
	if _, err := r.act.f.WriteAt(data, r.act.tail.size); err != nil {
		return err
	}
	r.store.metrics.bytes.Add(float64(len(data)))
	if r.act.tail.size == 0 {
		r.act.tail.size = segment.HeaderSize
		r.act.tail.sum = r.act.seg.header.PrevChecksum
	}
	for _, f := range frames {
		if err := r.take(f); err != nil {
			return err
		}
	}
	r.store.grew(len(data))
	return nil
}

// oldFooter recognises the footer of the segment before the present one. The
// writer begins with it when it cannot know that the replica has it.
func (r *Replica) oldFooter(data []byte) bool {
	seg := r.act.seg
	if r.act.tail.last >= seg.first {
		return false
	}
	h, err := segment.ParseFrameHeader(data)
	return err == nil && h.Kind == segment.KindFooter && h.Sequence < seg.first &&
		int(h.Len()) == len(data)
}

// unknown returns the part of data that the replica does not have yet.
func (r *Replica) unknown(offset uint64, data []byte) ([]byte, error) {
	size := uint64(r.act.tail.size)
	if offset == size {
		return data, nil
	}
	if offset > size {
		return nil, fmt.Errorf("segment %s: %w: offset %d, have %d bytes", r.act.seg.path, ErrMismatch, offset, size)
	}
	have := make([]byte, min(uint64(len(data)), size-offset))
	if _, err := r.act.f.ReadAt(have, int64(offset)); err != nil {
		return nil, r.fail(err)
	}
	if !bytes.Equal(have, data[:len(have)]) {
		return nil, fmt.Errorf("segment %s: %w: other bytes at offset %d", r.act.seg.path, ErrMismatch, offset)
	}
	return data[len(have):], nil
}

// verify checks everything that can be checked without decoding, and returns how
// much there is to be decoded.
func (r *Replica) verify(data []byte) (raw int64, err error) {
	prev, next := r.act.decoder.Checksum(), r.act.decoder.Sequence()+1
	if r.act.tail.size == 0 {
		h, err := segment.ParseHeader(data)
		if err != nil {
			return 0, err
		}
		seg := newSegFile(filepath.Dir(r.act.seg.path), r.act.seg.name, r.act.seg.first)
		if err := seg.setHeader(h, r.log.id); err != nil {
			return 0, err
		}
		data = data[segment.HeaderSize:]
		prev, next = h.Checksum, h.FirstSequence
	}
	for len(data) > 0 {
		h, err := segment.ParseFrameHeader(data)
		if err != nil {
			return 0, err
		}
		if h.Len() > int64(len(data)) {
			return 0, fmt.Errorf("%s: %w", h.Kind, segment.ErrShort)
		}
		if err := h.VerifyPayload(data[segment.FrameHeaderSize:h.Len()]); err != nil {
			return 0, err
		}
		if h.Prev != prev || h.Kind == segment.KindBlock && h.Sequence != next {
			return 0, fmt.Errorf("%s %d does not follow what is there", h.Kind, h.Sequence)
		}
		if h.Kind == segment.KindBlock {
			next++
		}
		raw += int64(h.RawLen)
		prev, data = h.Checksum, data[h.Len():]
	}
	return raw, nil
}

// decode decodes verified bytes.
func (r *Replica) decode(data []byte) ([]*segment.Frame, error) {
	d := r.act.decoder
	if r.act.tail.size == 0 {
		h, err := d.Begin(data)
		if err != nil {
			return nil, err
		}
		if err := r.act.seg.setHeader(h, r.log.id); err != nil {
			return nil, err
		}
		data = data[segment.HeaderSize:]
	}
	n := 0
	for ; len(data) > 0; n++ {
		h, err := segment.ParseFrameHeader(data)
		if err != nil {
			return nil, err
		}
		if n == len(r.frames) {
			r.frames = append(r.frames, &segment.Frame{Block: new(segment.Block)})
		}
		f := r.frames[n]
		f.Header = h
		payload := data[segment.FrameHeaderSize:h.Len()]
		switch h.Kind {
		case segment.KindKeyframe:
			err = d.Keyframe(&h, payload, &f.Keyframe)
		case segment.KindBlock:
			err = d.Block(&h, payload, f.Block)
		case segment.KindFooter:
			err = d.Footer(&h)
		}
		if err != nil {
			return nil, err
		}
		data = data[h.Len():]
	}
	return r.frames[:n], nil
}

// keepSeries is for how many series a frame keeps room, and keepFrames how many
// frames do.
const (
	keepSeries = 4096
	keepFrames = 64
)

// tidy gives up room that is seldom needed.
func (r *Replica) tidy() {
	r.frames = r.frames[:min(len(r.frames), keepFrames)]
	for _, f := range r.frames {
		if roomy(&f.Keyframe.Series) || roomy(&f.Block.Series) {
			*f = segment.Frame{Block: new(segment.Block)}
		}
	}
}

func roomy(t *segment.SeriesTable) bool {
	return cap(t.Refs) > keepSeries || cap(t.Labels) > keepSeries
}

// take applies a written frame and shows it to readers.
func (r *Replica) take(f *segment.Frame) error {
	act := r.act
	if err := apply(r.applier, f); err != nil {
		return err
	}
	r.log.mu.Lock()
	act.take(&f.Header)
	r.log.mu.Unlock()
	t := act.tail
	switch {
	case f.Header.Kind == segment.KindKeyframe && f.Header.Flags&segment.FlagLast != 0:
		act.seg.size, act.seg.sum = t.size, t.sum
		r.pending = false
		if err := r.store.link(r.log, act.seg.name); err != nil {
			return err
		}
		r.log.add(act.seg)
		r.store.metrics.rotations.Inc()
		r.store.log.Info("segment begun", "file", act.seg.path, "first_sequence", act.seg.first, "keyframe_bytes", act.seg.keyEnd)
		r.store.retain()
	case !r.pending:
		var b *segment.Block
		if f.Header.Kind == segment.KindBlock {
			r.store.metrics.appends.Inc()
			b = f.Block.Detach()
		}
		r.log.publish(act.seg, &t, b)
	}
	return nil
}

// Close ends the log's readers. It may be called twice.
func (r *Replica) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	var err error
	if r.act != nil {
		err = r.act.f.Sync()
		if e := r.act.f.Close(); err == nil {
			err = e
		}
	}
	r.store.closeLog(r.log)
	return err
}
