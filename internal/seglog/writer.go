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
//	written  ├───────────────────┤    act.tail        ├───────────────────┤
//	on disk  ├──────────────┤         synced          ├─────────┤
//	visible  ├─────────┤              Log             ├───────────────────┤
//
// A sync moves synced to what was written when it started, and under SyncAlways then
// what is visible. The end mark is written between the two.
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
	mu      sync.Mutex
	act     *active
	synced  int64 // offset in act
	err     error
	closed  bool

	stop    chan struct{}
	stopped sync.WaitGroup
}

// Log is the readable side.
func (w *Writer) Log() *Log { return w.log }

// Renewed says why the log is new although there was one, nil if it is not.
func (w *Writer) Renewed() error { return w.renewed }

// Append writes a block and sets its sequence. Under [SyncAlways] the block is neither
// durable nor visible before WaitDurable returns. Append must not be called concurrently.
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
	if _, err := act.f.WriteAt(w.buf, act.tail.size); err != nil {
		return 0, w.fail(err)
	}
	w.log.mu.Lock()
	act.seg.index.add(h.Sequence, act.tail.size)
	w.log.mu.Unlock()
	w.mu.Lock()
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
	if w.log.Last() >= seq {
		return nil
	}
	if err := w.broken(); err != nil {
		return err
	}
	if err := w.sync(); err != nil {
		return err
	}
	if last := w.log.Last(); last < seq {
		return fmt.Errorf("block %d was not appended, the last is %d", seq, last)
	}
	return nil
}

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

// sync forces what was written to the disk, and makes it visible.
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
	w.mu.Unlock()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrBroken, err)
	case done:
		return nil
	}
	if err := w.syncFile(act.f); err != nil {
		return w.fail(err)
	}
	w.mu.Lock()
	w.synced = t.size
	err = w.err
	w.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if w.store.o.Sync == SyncAlways {
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
	invariant.Check(w.store.o.Sync != SyncAlways || t.size <= w.synced, "%s: visible up to %d, on the disk up to %d", act.seg.path, t.size, w.synced)
}

func (w *Writer) syncFile(f file) error {
	start := time.Now()
	err := f.Sync()
	w.store.metrics.syncSeconds.Observe(time.Since(start).Seconds())
	return err
}

// Close forces what was appended to the disk, and ends the log's readers. A broken
// writer cuts its file back to what is visible instead: after a failed sync the rest may
// be in memory only, and must not count as durable when the file is opened again. Close
// may be called twice.
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

// cutBack cuts the file to what is visible, and has the next opening in this process do
// the same, in case that failed.
func (w *Writer) cutBack() {
	w.log.mu.RLock()
	size, path := w.act.seg.size, w.act.seg.path
	w.log.mu.RUnlock()
	err := w.act.f.Truncate(size)
	if err == nil {
		err = w.act.f.Sync()
	}
	if err != nil && !os.IsNotExist(err) {
		w.store.log.Warn("cut back broken segment", "file", path, "offset", size, "err", err)
	}
	w.store.mu.Lock()
	w.store.cut[path] = size
	w.store.mu.Unlock()
}
