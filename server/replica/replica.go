package replica

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/window"
)

// Replica is a server's copy of one log: the files, and the state as of the last
// block.
type Replica struct {
	ID    segment.LogID
	files *seglog.Mirror
	Log   *seglog.Log

	state

	requests requests
	count    liveCount
	filling  filling

	keyframe  atomic.Bool   // a whole keyframe has been applied
	ready     atomic.Bool   // it has caught up once, or was opened with a state
	broken    atomic.Bool   // an append failed: it has to be reopened
	unusable  atomic.Bool   // it cannot be read any more, or its state is wrong
	stale     atomic.Bool   // it was opened with an old state, and has not caught up since
	tail      atomic.Uint64 // the last block of the forwarder's log
	tailKnown atomic.Bool
	ending    ending
	opened    time.Time
	received  atomic.Int64  // when bytes last came, in ns since the epoch; 0: not yet
	inBucket  atomic.Uint64 // the last block that is there
	owners    atomic.Pointer[[]string]
	belongs   atomic.Pointer[belonging] // nil: nobody asked
	written   atomic.Int64              // when the forwarder wrote the last block, in ms
	lease     lease
	health    *health // its successor takes it over when it is reopened
}

// openReplica rebuilds the state of a log from its newest segment, or creates
// an empty log.
func openReplica(store *seglog.Store, id segment.LogID, h *health, w *window.Window) (*Replica, error) {
	r := &Replica{ID: id, lease: newLease(), health: h, state: newState(w), opened: time.Now()}
	files, err := store.OpenMirror(id, r)
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("open log %s: %w", id, err)
	}
	r.files, r.Log = files, files.Log()
	if owner, err := store.Owner(id); err == nil { // If not, nobody may feed it.
		r.owners.Store(&owner)
	}
	r.windowMisses()
	r.ready.Store(r.keyframe.Load())
	return r, nil
}

// ApplyKeyframe implements [seglog.Applier].
func (r *Replica) ApplyKeyframe(k *segment.Keyframe) error {
	r.index.Lock()
	defer r.index.Unlock()
	if err := r.Head.ApplyKeyframe(k); err != nil {
		r.unusable.Store(true)
		return err
	}
	if k.Last {
		r.Window.ApplyKeyframe(k.Sequence)
		r.keyframe.Store(true)
	}
	return nil
}

// ApplyBlock implements [seglog.Applier].
func (r *Replica) ApplyBlock(b *segment.Block) error {
	r.index.Lock()
	defer r.index.Unlock()
	if err := r.Head.ApplyBlock(b); err != nil {
		r.unusable.Store(true)
		return err
	}
	r.Window.ApplyBlock(b)
	r.requests.add(b)
	r.written.Store(b.Time)
	return nil
}

// StartSegment starts a segment.
func (r *Replica) StartSegment(name string, firstSequence uint64) error {
	// The connection before this one may have broken within the keyframe.
	r.Head.RestartKeyframe()
	return r.failed(r.health.watch(func() error { return r.files.StartSegment(name, firstSequence) }))
}

// Append appends bytes of a segment.
func (r *Replica) Append(offset uint64, data []byte) error {
	before := r.Log.Last()
	if err := r.failed(r.health.watch(func() error { return r.files.Append(offset, data) })); err != nil {
		return err
	}
	if r.Log.Last() > before {
		r.health.recover()
	}
	r.received.Store(time.Now().UnixNano())
	r.checkCaughtUp()
	return nil
}

// Force forces what was appended to the disk, while others append.
func (r *Replica) Force() error {
	_, err := r.files.Sync()
	if errors.Is(err, seglog.ErrBroken) {
		r.health.fail()
	}
	return r.failed(err)
}

// Durable is the last block that Force has brought to the disk.
func (r *Replica) Durable() uint64 { return r.files.Durable() }

// SetTail says which block is the last of the forwarder's log.
func (r *Replica) SetTail(sequence uint64) {
	r.tail.Store(sequence)
	r.tailKnown.Store(true)
	r.checkCaughtUp()
}

// checkCaughtUp makes a replica ready that has caught up with the forwarder's log.
func (r *Replica) checkCaughtUp() {
	if r.tailKnown.Load() && r.keyframe.Load() && r.Log.Last() >= r.tail.Load() {
		r.ready.Store(true)
		r.stale.Store(false)
		r.health.recover()
	}
}

// forwarderTime is how long a restarted server expects a forwarder to come.
const forwarderTime = 6 * time.Second

// CatchingUp says whether a server that was started with a stale state of the log is
// about to get a newer one.
func (r *Replica) CatchingUp(started time.Time) bool {
	return r.stale.Load() && (r.Connected() || time.Since(started) < forwarderTime)
}

// failed notes an error after which the log has to be reopened. Bytes that were
// refused leave it as it was.
func (r *Replica) failed(err error) error {
	if errors.Is(err, seglog.ErrBroken) {
		r.broken.Store(true)
	}
	return err
}

// IsBroken says that the log has to be reopened before anything is appended.
func (r *Replica) IsBroken() bool { return r.broken.Load() }

// Serving says whether the log can be read and its state is of use. A broken one is
// served as it was before that, until it is reopened.
func (r *Replica) Serving() bool { return r.ready.Load() && !r.unusable.Load() }

// blocked says why blocks that come are not appended, nil if they are.
func (r *Replica) blocked() error { return r.health.check(sinceEpoch(), r.Connected()) }

// Position is the last block of the replica, false if it has none.
func (r *Replica) Position() (sequence uint64, checksum uint32, ok bool) { return r.files.Position() }

// LastReceived is when bytes last came, the zero time if none have.
func (r *Replica) LastReceived() time.Time {
	if at := r.received.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// Opened is when the replica was opened.
func (r *Replica) Opened() time.Time { return r.opened }

// Time is that of the log, by its forwarder's clock, in ms: no later block is from before
// it. Zero: there is none yet.
func (r *Replica) Time() int64 {
	if last := r.written.Load(); last != 0 {
		return last
	}
	// A keyframe is all there is.
	if newest, ok := r.Log.Newest(); ok {
		return newest.CreateTime.UnixMilli()
	}
	return 0
}

// MarkStale marks a replica that was just opened as stale if its last block was
// written before a time (ms).
func (r *Replica) MarkStale(liveSince int64) {
	r.stale.Store(r.Serving() && r.written.Load() < liveSince)
}

// Connected says whether a connection feeds the replica.
func (r *Replica) Connected() bool { return r.lease.held() }

// Lag is how many blocks of the forwarder's log are missing here.
func (r *Replica) Lag() uint64 {
	last, tail := r.Log.Last(), r.tail.Load()
	return max(tail, last) - last
}
