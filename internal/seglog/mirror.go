package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/promgrpc/exporter/internal/segment"
)

// ErrMismatch says that bytes do not continue those that a mirror has.
var ErrMismatch = errors.New("does not continue what is there")

// Mirror is a log whose bytes are taken as another process wrote them: its files are
// equal to the writer's, byte for byte. StartSegment and Append must not be called
// concurrently. Bytes other than the next whole frames are refused with ErrMismatch,
// and change nothing. After any other error the mirror is broken for good, as a Writer
// is.
type Mirror struct {
	store   *Store
	log     *Log
	applier Applier

	mu         sync.Mutex // guards err and closed
	err        error
	closed     bool
	act        *active          // nil before the first segment
	incomplete bool             // act has no whole keyframe yet, and is not in the log
	frames     []*segment.Frame // of the piece at hand, reused

	forced forced
}

// OpenMirror opens the mirror of a log, and rebuilds the state from its newest segment. A
// torn tail is cut without asking what it was: the writer has it. A new log has no folder
// before its first segment starts.
func (s *Store) OpenMirror(id segment.LogID, a Applier) (*Mirror, error) {
	return s.openMirror(id, a, false)
}

// OpenEnded opens a log that was written here and is not any more, to be read, and to
// get what is missing at its end from others. Retention may delete all of it.
func (s *Store) OpenEnded(id segment.LogID) (*Mirror, error) {
	return s.openMirror(id, nothing{}, true)
}

// nothing is the state of a log of which only the files are needed.
type nothing struct{}

func (nothing) ApplyKeyframe(*segment.Keyframe) error { return nil }
func (nothing) ApplyBlock(*segment.Block) error       { return nil }

func (s *Store) openMirror(id segment.LogID, a Applier, ended bool) (*Mirror, error) {
	l, files, err := s.openLog(id)
	if err != nil {
		return nil, fmt.Errorf("open mirror %s: %w", id, err)
	}
	if l.ended = ended; ended {
		l.ring.limit = 0 // Nobody follows it.
	}
	m := &Mirror{store: s, log: l, applier: a}
	if m.act, err = s.restore(l, files, a, mirroring); err == nil && m.act != nil {
		err = s.link(l, m.act.seg.name)
	}
	if err != nil {
		if m.act != nil {
			_ = m.act.f.Close()
		}
		s.closeLog(l)
		return nil, fmt.Errorf("open mirror %s: %w", id, err)
	}
	s.retain()
	return m, nil
}

// Log is the readable side.
func (m *Mirror) Log() *Log { return m.log }

// Position is the last block that the mirror has, and its checksum; ok is
// false while it has none.
func (m *Mirror) Position() (seq uint64, checksum uint32, ok bool) {
	l := m.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last, l.sum, l.last > 0 && len(l.segs) > 0
}

func (m *Mirror) broken() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, m.err)
	}
	if m.closed {
		return ErrClosed
	}
	return nil
}

// fail breaks the mirror. The caller returns the error, and so does everything after it.
func (m *Mirror) fail(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
		m.store.metrics.writeErrors.Inc()
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// StartSegment creates the file of a new segment. It replaces the present one if that
// has no blocks. A first sequence above the next is a gap; one below it, or one that the
// name contradicts, is refused.
func (m *Mirror) StartSegment(name string, firstSequence uint64) error {
	if err := m.broken(); err != nil {
		return err
	}
	if first, ok := parseName(name); !ok || first != firstSequence {
		return fmt.Errorf("segment %.80q with first sequence %d: %w", name, firstSequence, ErrMismatch)
	}
	last := m.log.Last()
	if firstSequence <= last {
		return fmt.Errorf("segment %s: %w: last sequence is %d", name, ErrMismatch, last)
	}
	m.forced.changing.Lock()
	defer m.forced.changing.Unlock()
	if err := m.endSegment(); err != nil {
		return m.fail(err)
	}
	if _, some := m.log.created(); !some {
		if err := m.store.makeDir(m.log); err != nil {
			return m.fail(fmt.Errorf("create folder: %w", err))
		}
	}
	seg := newSegFile(m.log.dir, name, firstSequence)
	f, err := m.store.fs.Create(seg.path)
	if err != nil {
		return m.fail(fmt.Errorf("create segment: %w", err))
	}
	m.act = &active{seg: seg, f: f, decoder: segment.NewDecoder(), tail: seg.tail()}
	m.incomplete = true
	m.forced.began()
	return nil
}

// endSegment closes the present segment. It is forced to the disk, so that only the
// newest can be torn, or removed if it has no blocks. The caller holds forced.changing.
func (m *Mirror) endSegment() error {
	if m.act == nil {
		return nil
	}
	seg := m.act.seg
	empty := m.act.tail.last < seg.first
	if !empty {
		if err := m.forceFile(); err != nil {
			return err
		}
	}
	err := m.act.f.Close()
	m.act = nil
	if err != nil || !empty {
		return err
	}
	m.log.remove(seg)
	return m.store.fs.Remove(seg.path)
}

// Append appends bytes of the present segment: the file header at offset 0, then whole
// frames. They are verified, written, applied to the state and made visible. Bytes that
// the mirror has already are compared and skipped. Nothing is forced to the disk before
// the segment ends, or Sync is called: what a power cut loses is sent again.
func (m *Mirror) Append(offset uint64, data []byte) error {
	if err := m.broken(); err != nil {
		return err
	}
	if m.act == nil {
		return fmt.Errorf("no segment is under way: %w", ErrMismatch)
	}
	if m.oldFooter(data) {
		return nil
	}
	data, err := m.missing(offset, data)
	if err != nil || len(data) == 0 {
		return err
	}
	raw, err := m.verify(data)
	if err != nil {
		return fmt.Errorf("segment %s at offset %d: %w: %w", m.act.seg.path, m.act.tail.size, ErrMismatch, err)
	}
	if raw > largePiece {
		m.store.large <- struct{}{}
		defer func() { <-m.store.large }()
	}
	for len(data) > 0 {
		piece := data
		if raw > decodeAtOnce {
			piece = m.piece(data)
		}
		if err := m.appendPiece(piece); err != nil {
			return m.fail(err)
		}
		data = data[len(piece):]
	}
	return nil
}

// oldFooter recognises the footer of the segment before the present one. It is sent
// again when the sender cannot know whether the mirror has it.
func (m *Mirror) oldFooter(data []byte) bool {
	seg := m.act.seg
	if m.act.tail.last >= seg.first {
		return false
	}
	h, err := segment.ParseFrameHeader(data)
	return err == nil && h.Kind == segment.KindFooter && h.Sequence < seg.first &&
		int(h.Len()) == len(data)
}

// missing returns the part of data that the mirror does not have yet.
func (m *Mirror) missing(offset uint64, data []byte) ([]byte, error) {
	size := uint64(m.act.tail.size)
	if offset == size {
		return data, nil
	}
	if offset > size {
		return nil, fmt.Errorf("segment %s: %w: offset %d, have %d bytes", m.act.seg.path, ErrMismatch, offset, size)
	}
	have := make([]byte, min(uint64(len(data)), size-offset))
	if _, err := m.act.f.ReadAt(have, int64(offset)); err != nil {
		return nil, m.fail(err)
	}
	if !bytes.Equal(have, data[:len(have)]) {
		return nil, fmt.Errorf("segment %s: %w: other bytes at offset %d", m.act.seg.path, ErrMismatch, offset)
	}
	return data[len(have):], nil
}

// commit applies a written frame, and makes it visible.
func (m *Mirror) commit(f *segment.Frame) error {
	act := m.act
	if err := apply(m.applier, f); err != nil {
		return err
	}
	m.log.mu.Lock()
	act.extend(&f.Header)
	m.log.mu.Unlock()
	t := act.tail
	switch {
	case f.Header.Kind == segment.KindKeyframe && f.Header.Flags&segment.FlagLast != 0:
		m.log.mu.Lock()
		act.seg.size, act.seg.sum = t.size, t.sum
		m.log.mu.Unlock()
		m.incomplete = false
		if err := m.store.link(m.log, act.seg.name); err != nil {
			return err
		}
		m.log.add(act.seg)
		m.store.metrics.rotations.Inc()
		m.store.log.Info("segment started", "file", act.seg.path, "first_sequence", act.seg.first, "keyframe_bytes", act.seg.keyEnd)
		m.store.retain()
	case !m.incomplete:
		var b *segment.Block
		if f.Header.Kind == segment.KindBlock {
			m.store.metrics.appends.Inc()
			b = f.Block.Detach()
		}
		m.log.publish(act.seg, &t, b)
	}
	return nil
}

// Close ends the log's readers. It may be called twice.
func (m *Mirror) Close() error {
	m.forced.changing.Lock()
	defer m.forced.changing.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	var err error
	if m.act != nil {
		err = m.forceFile()
		if m.forced.unsure && m.forced.asked {
			m.store.cutBack(m.act, m.forced.size)
		}
		if e := m.act.f.Close(); err == nil {
			err = e
		}
	}
	m.store.closeLog(m.log)
	return err
}
