package seglog

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// RotationDue reports whether the next Append will start a new segment.
func (w *Writer) RotationDue() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, t := w.act.seg, &w.act.tail
	if t.last < s.first {
		return false
	}
	age := w.store.o.Now().Sub(time.UnixMilli(s.header.CreateTime))
	return age >= w.store.o.SegmentDuration ||
		t.size >= w.store.o.SegmentSize && t.size-s.keyEnd >= s.keyEnd
}

// Rotate starts a new segment with a keyframe of the state, unless the present one has no
// blocks. A caller whose keyframes leave series out calls it when RotationDue, before it
// resolves the references of the next block: Append refuses those that the keyframe left
// out.
func (w *Writer) Rotate() error {
	if err := w.broken(); err != nil {
		return err
	}
	w.mu.Lock()
	empty := w.act.tail.last < w.act.seg.first
	w.mu.Unlock()
	if empty {
		return nil
	}
	if err := w.rotate(); err != nil {
		return w.fail(err)
	}
	w.store.retain()
	return nil
}

// rotate writes the new segment under a temporary name, completes the old one, and then
// renames the new one: so a crash leaves the old segment as the newest, or the new one
// whole.
func (w *Writer) rotate() error {
	seg, header := w.nextSegment()
	temp := seg.path + tempExt
	f, err := w.store.fs.Create(temp)
	if err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	next := &active{seg: seg, f: f, tail: seg.tail()}
	encoder := segment.NewEncoder()
	if err = w.writeKeyframe(next, encoder, header); err == nil {
		if err = w.syncFile(f); err == nil {
			err = w.switchTo(next, temp)
		}
	}
	if err != nil {
		_ = f.Close()
		if e := w.store.fs.Remove(temp); e != nil {
			w.store.log.Debug("remove unfinished segment", "file", temp, "err", e)
		}
		return fmt.Errorf("segment %s: %w", seg.path, err)
	}
	w.encoder = encoder
	w.store.metrics.rotations.Inc()
	w.store.log.Info("segment started", "file", seg.path, "first_sequence", seg.first, "keyframe_bytes", seg.keyEnd)
	return nil
}

func (w *Writer) nextSegment() (*segFile, segment.Header) {
	h := segment.Header{LogID: w.log.id, FirstSequence: 1, CreateTime: w.store.o.Now().UnixMilli()}
	if w.act != nil {
		t := w.act.tail
		h.FirstSequence, h.PrevChecksum = t.last+1, t.sum
		// Names sort as sequences do, even if the clock was set back.
		h.CreateTime = max(h.CreateTime, w.act.seg.header.CreateTime+1)
	}
	seg := newSegFile(w.log.dir, fileName(h.CreateTime, h.FirstSequence), h.FirstSequence)
	return seg, h
}

// writeKeyframe writes header and keyframe.
func (w *Writer) writeKeyframe(next *active, e *segment.Encoder, header segment.Header) error {
	const flushAt = 1 << 20
	buf := e.StartSegment(nil, header)
	header.Checksum = e.Checksum()
	if err := next.seg.setHeader(header, w.log.id); err != nil {
		return err
	}
	next.tail.sum = header.PrevChecksum
	flush := func() error {
		_, err := next.f.WriteAt(buf, next.tail.size)
		next.tail.size += int64(len(buf))
		w.store.metrics.bytes.Add(float64(len(buf)))
		buf = buf[:0]
		return err
	}
	last := false
	err := w.state.Keyframe(func(k *segment.Keyframe) error {
		if last {
			return errors.New("the state gave a chunk after the last")
		}
		last = k.Last
		chunk := *k
		chunk.Sequence = header.FirstSequence - 1
		var err error
		if buf, err = appendKeyframe(e, buf, &chunk, header.CreateTime); err != nil {
			return err
		}
		if len(buf) < flushAt {
			return nil
		}
		return flush()
	})
	if err != nil {
		return fmt.Errorf("keyframe: %w", err)
	}
	if !last {
		return errors.New("keyframe: the state gave no last chunk")
	}
	err = flush()
	next.seg.keyEnd = next.tail.size
	return err
}

// keyframePart is a chunk of some series of another, the first of them with its
// metadata and placement.
func keyframePart(k *segment.Keyframe, from, to int) segment.Keyframe {
	part := segment.Keyframe{
		Sequence: k.Sequence, NextRef: k.NextRef, Last: k.Last && to == k.Series.Len(),
		Series: k.Series.Part(from, to), Latest: k.Latest[from:to],
	}
	if from == 0 {
		part.Metadata, part.Placement = k.Metadata, k.Placement
	}
	return part
}

// appendKeyframe halves a chunk that is too large for a frame.
func appendKeyframe(e *segment.Encoder, buf []byte, k *segment.Keyframe, timeMS int64) ([]byte, error) {
	out, err := e.AppendKeyframe(buf, k, timeMS, 0)
	if !errors.Is(err, segment.ErrTooLarge) || k.Series.Len()+len(k.Metadata)+min(len(k.Elections), 1) < 2 {
		return out, err
	}
	a, b := halves(k)
	if buf, err = appendKeyframe(e, buf, &a, timeMS); err != nil {
		return buf, err
	}
	return appendKeyframe(e, buf, &b, timeMS)
}

// halves cuts a chunk of at least two entries: elections, of which a frame has room for as
// many as a chunk has, from the rest, series from metadata, and a chunk of only one of them
// in the middle. The first half has the placement.
func halves(k *segment.Keyframe) (a, b segment.Keyframe) {
	n, m := k.Series.Len(), len(k.Metadata)
	switch {
	case len(k.Elections) > 0:
		a, b = *k, segment.Keyframe{Elections: k.Elections}
		a.Elections = nil
	case n > 0 && m > 0:
		a, b = *k, segment.Keyframe{Metadata: k.Metadata}
		a.Metadata = nil
	case n > 0:
		a, b = keyframePart(k, 0, n/2), keyframePart(k, n/2, n)
	default:
		a, b = segment.Keyframe{Metadata: k.Metadata[:m/2], Placement: k.Placement}, segment.Keyframe{Metadata: k.Metadata[m/2:]}
	}
	for _, half := range []*segment.Keyframe{&a, &b} {
		half.Sequence, half.NextRef, half.Last = k.Sequence, k.NextRef, false
	}
	b.Last = k.Last
	return a, b
}

// switchTo completes the present segment, and makes next the active one.
func (w *Writer) switchTo(next *active, temp string) error {
	w.syncing.Lock()
	defer w.syncing.Unlock()
	if err := w.seal(); err != nil {
		return err
	}
	if err := w.store.fs.Rename(temp, next.seg.path); err != nil {
		return err
	}
	if err := w.store.fs.SyncDir(filepath.Dir(next.seg.path)); err != nil {
		return err
	}
	if err := w.store.link(w.log, next.seg.name); err != nil {
		return err
	}
	next.seg.size = next.tail.size
	w.log.add(next.seg)
	w.mu.Lock()
	old := w.act
	w.act = next
	w.onDisk(&next.tail)
	w.mu.Unlock()
	if old != nil {
		_ = old.f.Close() // all of it has been synced
	}
	return nil
}

// seal ends the present segment with a footer, on the disk.
func (w *Writer) seal() error {
	if w.act == nil || w.act.tail.sealed {
		return nil
	}
	w.mu.Lock()
	act, synced, err := w.act, w.synced, w.err
	if err == nil {
		err = w.group.write(act.f)
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}
	footer, err := w.encoder.AppendFooter(nil, w.store.o.Now().UnixMilli(), uint64(synced))
	if err != nil {
		return err
	}
	if _, err := act.f.WriteAt(footer, act.tail.size); err != nil {
		return err
	}
	if err := w.syncFile(act.f); err != nil {
		return err
	}
	h, err := segment.ParseFrameHeader(footer)
	if err != nil {
		return err
	}
	w.mu.Lock()
	act.tail.extend(&h)
	t := act.tail
	w.onDisk(&t)
	w.mu.Unlock()
	return w.publish(act, &t)
}
