package seglog

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// Writer appends to a log. After a failed write or sync it is broken for good:
// Append, Rotate and WaitDurable return an error that wraps ErrBroken and the
// cause, and nothing more becomes visible. Close it and open it again.
//
// How far the active segment has come, under [SyncAlways] and otherwise:
//
//	appended  ├────────────────────────┤    act.tail        ├───────────────────┤
//	written   ├───────────────────┤         group           ├───────────────────┤
//	on disk   ├──────────────┤              synced          ├─────────┤
//	visible   ├─────────┤                   Log             ├───────────────────┤
//
// A sync writes what was appended when it started, moves synced to that, and under
// SyncAlways then what is visible, or before that with [Options.ShowFirst]. The end mark
// is written before a block becomes visible.
type Writer struct {
	store *Store
	log   *Log
	state State
	// renewed says why the log is new although there was one; nil: it is not.
	renewed error
	// end belongs to whoever publishes.
	end *endMark

	// Only Append and Rotate use these.
	encoder *segment.Encoder
	buf     []byte

	// syncing is held during a sync, a change of segments and Close. It is locked before
	// mu.
	syncing sync.Mutex
	writing group // of a sync

	mu     sync.Mutex
	act    *active
	group  group  // of act, after what is written
	synced int64  // offset in act
	forced uint64 // the last block before that offset
	unsure bool   // a sync failed: what was written after synced may be in memory only
	err    error
	closed bool

	stop    chan struct{}
	stopped sync.WaitGroup
}

// Log is the readable side.
func (w *Writer) Log() *Log { return w.log }

// Renewed says why the log is new although there was one, nil if it is not.
func (w *Writer) Renewed() error { return w.renewed }

// Append appends a block and sets its sequence. Under [SyncAlways] the block is neither
// durable nor visible before a WaitDurable, by which an error of writing it may come as
// well. Append must not be called concurrently.
// If RotationDue it starts a new segment first, with a keyframe of the state, which must
// not include the block yet. A block with a reference that the segment does not know
// (*segment.UnknownRefError) or over the limits of a frame (segment.ErrTooLarge) is
// refused, and does not break the writer.
func (w *Writer) Append(b *segment.Block) (uint64, error) {
	if err := w.broken(); err != nil {
		return 0, err
	}
	if w.RotationDue() {
		if err := w.Rotate(); err != nil {
			return 0, err
		}
	}
	w.mu.Lock()
	act, synced := w.act, w.synced
	w.mu.Unlock()
	b.Sequence = w.encoder.Sequence() + 1
	var err error
	if w.buf, err = w.encoder.AppendBlock(w.buf[:0], b, uint64(synced)); err != nil {
		b.Sequence = 0
		return 0, fmt.Errorf("append: %w", err)
	}
	h, err := segment.ParseFrameHeader(w.buf)
	if err != nil {
		return 0, w.fail(err)
	}
	w.log.mu.Lock()
	act.seg.index.add(h.Sequence, act.tail.size)
	w.log.mu.Unlock()
	w.mu.Lock()
	w.group.add(w.buf, act.tail.size)
	if w.store.o.Sync != SyncAlways || w.group.full() {
		if err := w.group.write(act.f); err != nil {
			w.mu.Unlock()
			return 0, w.fail(err)
		}
	}
	act.tail.extend(&h)
	t := act.tail
	w.mu.Unlock()
	w.store.metrics.appends.Inc()
	w.store.metrics.bytes.Add(float64(len(w.buf)))
	if w.store.o.Sync != SyncAlways {
		if err := w.publish(act, &t); err != nil {
			return 0, w.fail(err)
		}
	}
	w.store.grew(len(w.buf))
	return h.Sequence, nil
}

// WaitDurable waits until a block that was appended is durable by the sync policy, and
// visible. It forces everything that was appended to the disk, so a caller with several
// blocks appends them all before it waits. Waits that start during a sync share the next.
func (w *Writer) WaitDurable(seq uint64) error {
	if w.confirmed() >= seq {
		return nil
	}
	if err := w.broken(); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	if last := w.confirmed(); last < seq {
		return fmt.Errorf("block %d was not appended, the last is %d", seq, last)
	}
	return nil
}

// confirmed is the last block that is durable by the sync policy, and visible.
func (w *Writer) confirmed() uint64 {
	last := w.log.Last()
	if w.store.o.Sync != SyncAlways {
		return last
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return min(last, w.forced)
}

// onDisk notes that the active segment is on the disk up to a tail. The caller holds mu.
func (w *Writer) onDisk(t *tail) { w.synced, w.forced = t.size, t.last }

func (w *Writer) broken() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, w.err)
	}
	if w.closed {
		return ErrClosed
	}
	return nil
}

// fail breaks the writer. The caller returns the error, and so does everything after it.
func (w *Writer) fail(err error) error {
	w.mu.Lock()
	first := w.err == nil
	if first {
		w.err = err
	}
	err = w.err
	w.mu.Unlock()
	if first {
		w.store.metrics.writeErrors.Inc()
		w.log.mu.Lock()
		w.log.change.Wake()
		w.log.mu.Unlock()
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// syncLoop syncs at every interval.
func (w *Writer) syncLoop() {
	tick := time.NewTicker(w.store.o.SyncInterval)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
		}
		if w.sync() != nil {
			return
		}
	}
}

// sync makes what was written visible, and forces it to the disk, in the order that the
// options say.
func (w *Writer) sync() error {
	w.syncing.Lock()
	defer w.syncing.Unlock()
	return w.force()
}

// force is sync for a caller that holds syncing.
func (w *Writer) force() error {
	w.mu.Lock()
	act, t, err := w.act, w.act.tail, w.err
	done := w.synced == t.size
	if err == nil {
		w.writing.takeFrom(&w.group)
	}
	w.mu.Unlock()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrBroken, err)
	case done:
		return nil
	}
	if err := w.writing.write(act.f); err != nil {
		return w.fail(err)
	}
	always, showFirst := w.store.o.Sync == SyncAlways, w.store.o.ShowFirst
	if always && showFirst {
		if err := w.publish(act, &t); err != nil {
			return w.fail(err)
		}
	}
	if err := w.syncFile(act.f); err != nil {
		return w.fail(err)
	}
	w.mu.Lock()
	w.onDisk(&t)
	err = w.err
	w.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if always && !showFirst {
		if err := w.publish(act, &t); err != nil {
			return w.fail(err)
		}
	}
	return nil
}

// publish makes a segment visible up to a tail, after the end mark says so.
func (w *Writer) publish(act *active, t *tail) error {
	if invariant.On {
		w.checkDurable(act, t)
	}
	if err := w.end.set(t.last, t.sum); err != nil {
		return err
	}
	w.log.publish(act.seg, t, nil)
	return nil
}

// checkDurable checks that what becomes visible was appended, and is on the disk if the
// policy says so.
func (w *Writer) checkDurable(act *active, t *tail) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if act != w.act {
		return // it is complete
	}
	invariant.Check(w.synced <= act.tail.size, "%s: on the disk up to %d of %d", act.seg.path, w.synced, act.tail.size)
	invariant.Check(t.size <= act.tail.size, "%s: visible up to %d of %d", act.seg.path, t.size, act.tail.size)
	invariant.Check(w.store.o.showsUnforced() || t.size <= w.synced, "%s: visible up to %d, on the disk up to %d", act.seg.path, t.size, w.synced)
}

func (w *Writer) syncFile(f file) error {
	start := time.Now()
	err := f.Sync()
	w.store.metrics.syncSeconds.Observe(time.Since(start).Seconds())
	if err != nil {
		w.mu.Lock()
		w.unsure = true
		w.mu.Unlock()
	}
	return err
}

// Close forces what was appended to the disk, and ends the log's readers. A broken
// writer cuts its file back instead, to what is visible and, under [SyncAlways], on the
// disk: after a failed sync the rest may be in memory only, and must not count as durable
// when the file is opened again. If visible blocks are missing then, that opening starts a
// new log. Close may be called twice.
func (w *Writer) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	broken := w.err != nil
	w.mu.Unlock()
	close(w.stop)
	w.stopped.Wait()
	w.syncing.Lock()
	defer w.syncing.Unlock()
	var err error
	if !broken {
		err = w.force()
		broken = err != nil
	}
	if broken {
		w.cutBack()
	}
	if e := w.act.f.Close(); err == nil && !broken {
		err = e
	}
	if e := w.end.close(!broken && err == nil); err == nil && !broken {
		err = e
	}
	w.store.closeLog(w.log)
	return err
}

// cutBack cuts the file to what is visible, or to what of that is on the disk.
func (w *Writer) cutBack() {
	w.log.mu.RLock()
	size := w.act.seg.size
	w.log.mu.RUnlock()
	w.mu.Lock()
	synced, unsure := w.synced, w.unsure
	w.mu.Unlock()
	if w.store.o.Sync == SyncAlways && synced < size && (unsure || w.act.f.Sync() != nil) {
		size = synced
	}
	w.store.cutBack(w.act, size)
}

// cutBack cuts a file to what is known to be on the disk, and has the next opening in this
// process do the same, in case that failed.
func (s *Store) cutBack(act *active, size int64) {
	path := act.seg.path
	err := act.f.Truncate(size)
	if err == nil {
		err = act.f.Sync()
	}
	if err != nil && !os.IsNotExist(err) {
		s.log.Warn("cut back broken segment", "file", path, "offset", size, "err", err)
	}
	s.mu.Lock()
	s.cut[path] = size
	s.mu.Unlock()
}
