package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// labelSource knows the labels of series.
type labelSource interface {
	// Labels appends the labels of a series to buf, if it is known.
	Labels(ref uint64, buf segment.Labels) (segment.Labels, bool)
	// AppendLabels appends them as they stand in a TimeSeries; nothing if it
	// is not known.
	AppendLabels(dst []byte, ref uint64) []byte
}

// replica is one log as this server has it: the files, and the state as of the
// last block.
type replica struct {
	id    segment.LogID
	files *seglog.Mirror
	log   *seglog.Log

	state

	requests requests
	count    liveCount

	keyframe atomic.Bool // a whole keyframe has been applied
	ready    atomic.Bool // the state is worth being served, once and for all
	broken   atomic.Bool // an append failed: it has to be opened again
	useless  atomic.Bool // it cannot be read any more, or its state is wrong
	ending   ending
	tail     atomic.Uint64 // how far the forwarder's log has come
	told     atomic.Bool   // tail has been told
	received atomic.Int64  // when the last block came, in ns since the epoch; 0: not yet
	feed     feed
	health   *health // goes over to the replica that takes this one's place

	old     atomic.Bool  // opened with a state that nobody would call the present
	written atomic.Int64 // when the forwarder made the last block, in ms
}

// openReplica rebuilds the state of a log from its newest segment, or creates
// an empty log.
func openReplica(store *seglog.Store, id segment.LogID, h *health) (*replica, error) {
	r := &replica{id: id, feed: newFeed(), health: h, state: newState()}
	files, err := store.OpenMirror(id, r)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", id, err)
	}
	r.files, r.log = files, files.Log()
	r.ready.Store(r.keyframe.Load())
	return r, nil
}

// ApplyKeyframe implements [seglog.Applier].
func (r *replica) ApplyKeyframe(k *segment.Keyframe) error {
	r.index.mu.Lock()
	defer r.index.mu.Unlock()
	if err := r.head.ApplyKeyframe(k); err != nil {
		r.useless.Store(true)
		return err
	}
	if k.Last {
		r.keyframe.Store(true)
	}
	return nil
}

// ApplyBlock implements [seglog.Applier].
func (r *replica) ApplyBlock(b *segment.Block) error {
	r.index.mu.Lock()
	defer r.index.mu.Unlock()
	if err := r.head.ApplyBlock(b); err != nil {
		r.useless.Store(true)
		return err
	}
	r.requests.note(b)
	r.written.Store(b.Time)
	return nil
}

// startSegment begins a segment.
func (r *replica) startSegment(name string, firstSequence uint64) error {
	// The connection before may have broken within the keyframe.
	r.head.RestartKeyframe()
	return r.failed(r.health.watch(func() error { return r.files.StartSegment(name, firstSequence) }))
}

// append takes over a part of a segment.
func (r *replica) append(offset uint64, data []byte) error {
	before := r.log.Last()
	if err := r.failed(r.health.watch(func() error { return r.files.Append(offset, data) })); err != nil {
		return err
	}
	if r.log.Last() > before {
		r.health.recover()
	}
	r.received.Store(time.Now().UnixNano())
	r.judge()
	return nil
}

// setTail notes how far the forwarder's log has come.
func (r *replica) setTail(sequence uint64) {
	r.tail.Store(sequence)
	r.told.Store(true)
	r.judge()
}

// judge makes a replica ready once it has caught up. How far that is it knows
// when it has been told.
func (r *replica) judge() {
	if r.told.Load() && r.keyframe.Load() && r.log.Last() >= r.tail.Load() {
		r.ready.Store(true)
		r.old.Store(false)
		r.health.recover()
	}
}

// forwarderTime is how long a restarted server expects a forwarder to come.
const forwarderTime = 6 * time.Second

// catchingUp says whether a server that was started with an old state of the
// log is about to have a newer one.
func (r *replica) catchingUp(started time.Time) bool {
	return r.old.Load() && (r.feed.connected() || time.Since(started) < forwarderTime)
}

// failed notes whether an error is one after which the log has to be opened
// again. Bytes that were refused leave it as it was.
func (r *replica) failed(err error) error {
	if errors.Is(err, seglog.ErrBroken) {
		r.broken.Store(true)
	}
	return err
}

// serving says whether the log can be read and its state is of use.
// One that broke is, as it was before that, until it is opened again.
func (r *replica) serving() bool { return r.ready.Load() && !r.useless.Load() }

// getsOn says why blocks that come are not taken over.
func (r *replica) getsOn() error { return r.health.check(sinceEpoch(), r.feed.connected()) }

// lag is how many blocks the forwarder is ahead.
func (r *replica) lag() uint64 {
	last, tail := r.log.Last(), r.tail.Load()
	return max(tail, last) - last
}

// feeder is a connection that feeds a replica.
type feeder interface {
	// Interrupt makes it let go.
	Interrupt()
}

// feed sees to it that one connection at a time feeds a replica.
type feed struct {
	mu      sync.Mutex
	current feeder
	busy    chan struct{}
}

func newFeed() feed { return feed{busy: make(chan struct{}, 1)} }

// take makes c the connection that feeds, interrupts the one before, and waits
// until that one has let go. It reports whether it did before ctx ended.
func (f *feed) take(ctx context.Context, c feeder) bool {
	f.mu.Lock()
	if f.current != nil {
		f.current.Interrupt()
	}
	f.current = c
	f.mu.Unlock()
	select {
	case f.busy <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (f *feed) release(c feeder) {
	f.mu.Lock()
	if f.current == c {
		f.current = nil
	}
	f.mu.Unlock()
	<-f.busy
}

func (f *feed) connected() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current != nil
}
