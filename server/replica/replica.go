package replica

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// Replica is one log as this server has it: the files, and the state as of the
// last block.
type Replica struct {
	ID    segment.LogID
	files *seglog.Mirror
	Log   *seglog.Log

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
	lease    lease
	health   *health // goes over to the replica that takes this one's place

	old     atomic.Bool  // opened with a state that nobody would call the present
	written atomic.Int64 // when the forwarder made the last block, in ms
}

// openReplica rebuilds the state of a log from its newest segment, or creates
// an empty log.
func openReplica(store *seglog.Store, id segment.LogID, h *health) (*Replica, error) {
	r := &Replica{ID: id, lease: newLease(), health: h, state: newState()}
	files, err := store.OpenMirror(id, r)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", id, err)
	}
	r.files, r.Log = files, files.Log()
	r.ready.Store(r.keyframe.Load())
	return r, nil
}

// ApplyKeyframe implements [seglog.Applier].
func (r *Replica) ApplyKeyframe(k *segment.Keyframe) error {
	r.index.mu.Lock()
	defer r.index.mu.Unlock()
	if err := r.Head.ApplyKeyframe(k); err != nil {
		r.useless.Store(true)
		return err
	}
	if k.Last {
		r.keyframe.Store(true)
	}
	return nil
}

// ApplyBlock implements [seglog.Applier].
func (r *Replica) ApplyBlock(b *segment.Block) error {
	r.index.mu.Lock()
	defer r.index.mu.Unlock()
	if err := r.Head.ApplyBlock(b); err != nil {
		r.useless.Store(true)
		return err
	}
	r.requests.note(b)
	r.written.Store(b.Time)
	return nil
}

// StartSegment begins a segment.
func (r *Replica) StartSegment(name string, firstSequence uint64) error {
	// The connection before may have broken within the keyframe.
	r.Head.RestartKeyframe()
	return r.failed(r.health.watch(func() error { return r.files.StartSegment(name, firstSequence) }))
}

// Append takes over a part of a segment.
func (r *Replica) Append(offset uint64, data []byte) error {
	before := r.Log.Last()
	if err := r.failed(r.health.watch(func() error { return r.files.Append(offset, data) })); err != nil {
		return err
	}
	if r.Log.Last() > before {
		r.health.recover()
	}
	r.received.Store(time.Now().UnixNano())
	r.judge()
	return nil
}

// SetTail notes how far the forwarder's log has come.
func (r *Replica) SetTail(sequence uint64) {
	r.tail.Store(sequence)
	r.told.Store(true)
	r.judge()
}

// judge makes a replica ready once it has caught up. How far that is it knows
// when it has been told.
func (r *Replica) judge() {
	if r.told.Load() && r.keyframe.Load() && r.Log.Last() >= r.tail.Load() {
		r.ready.Store(true)
		r.old.Store(false)
		r.health.recover()
	}
}

// forwarderTime is how long a restarted server expects a forwarder to come.
const forwarderTime = 6 * time.Second

// CatchingUp says whether a server that was started with an old state of the
// log is about to have a newer one.
func (r *Replica) CatchingUp(started time.Time) bool {
	return r.old.Load() && (r.Connected() || time.Since(started) < forwarderTime)
}

// failed notes whether an error is one after which the log has to be opened
// again. Bytes that were refused leave it as it was.
func (r *Replica) failed(err error) error {
	if errors.Is(err, seglog.ErrBroken) {
		r.broken.Store(true)
	}
	return err
}

// IsBroken says that the log has to be opened again before it gets on.
func (r *Replica) IsBroken() bool { return r.broken.Load() }

// Serving says whether the log can be read and its state is of use.
// One that broke is, as it was before that, until it is opened again.
func (r *Replica) Serving() bool { return r.ready.Load() && !r.useless.Load() }

// getsOn says why blocks that come are not taken over.
func (r *Replica) getsOn() error { return r.health.check(sinceEpoch(), r.Connected()) }

// Position is the last block that the replica has, false if it has none.
func (r *Replica) Position() (sequence uint64, checksum uint32, ok bool) { return r.files.Position() }

// LastReceived is when the last block came, the zero time if none has.
func (r *Replica) LastReceived() time.Time {
	if at := r.received.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// Opened says when a series has to have been written to be live: a state that has
// been written before that is an old one.
func (r *Replica) Opened(liveSince int64) {
	r.old.Store(r.Serving() && r.written.Load() < liveSince)
}

// Connected says whether a connection feeds the replica.
func (r *Replica) Connected() bool { return r.lease.held() }

// Lag is how many blocks the forwarder is ahead.
func (r *Replica) Lag() uint64 {
	last, tail := r.Log.Last(), r.tail.Load()
	return max(tail, last) - last
}
