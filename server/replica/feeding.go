package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// A log belongs to the names in the certificate of the connection that fed it last with
// one. Another connection needs one of them. So certificates may be renewed and names
// added or taken away, as long as one stays, and nobody else takes a log over. Without
// certificates nobody owns a log, and the newest connection feeds it.

// Source is a connection that brings logs.
type Source struct {
	Feeder
	// Names that its certificate has, of those that let it in. None: it has no identity.
	Names []string
	// Completes says that it is another server, which brings what no forwarder does. It
	// interrupts nobody, may complete a log that is another's, and owns none.
	Completes bool
	// Owner is to whom a log belongs there that it completes, if it can be believed.
	Owner []string
	// New is taken while a log is begun, until it is confirmed. Nil: it has no limit.
	New *limit.Hold
}

// owner is to whom a log belongs that the connection begins.
func (s *Source) owner() []string {
	if s.Completes {
		return s.Owner
	}
	return s.Names
}

// Feeding is what a connection does that feeds a replica. One at a time does.
type Feeding struct {
	*Replica
	set  *Set
	from Source
	// known says that the log is confirmed, owned that its owner is known to be this one.
	known, owned bool
	// hole says that the segment that was started last does not follow the one before, and
	// cannot be read yet.
	hole bool
}

// ErrFed is for who comes to complete a log that is being fed.
var ErrFed = errors.New("another connection feeds the log")

// Lease returns the replica of a log for a connection to feed, until it calls Release.
// The one before is interrupted. A *[RefusedError] says that the log is another's, or
// that there is no room for it.
func (rs *Set) Lease(ctx context.Context, id segment.LogID, from Source) (*Feeding, error) {
	for {
		if err := rs.checkOwner(id, from); err != nil {
			return nil, err
		}
		r, err := rs.take(id, from)
		if err != nil {
			return nil, err
		}
		f := &Feeding{Replica: r, set: rs, from: from}
		if err := r.lease.get(ctx, from); err != nil {
			rs.leave(r)
			return nil, err
		}
		// Who fed it meanwhile may have become its owner.
		if err := rs.checkOwner(id, from); err != nil {
			f.Release()
			return nil, err
		}
		if !r.broken.Load() && !r.unusable.Load() {
			return f, nil
		}
		// It broke, or has gone, before the last holder released it.
		f.Release()
	}
}

// get acquires the lease, or takes it.
func (l *lease) get(ctx context.Context, from Source) error {
	switch {
	case !from.Completes && !l.acquire(ctx, from.Feeder):
		return ctx.Err()
	case from.Completes && !l.take(from.Feeder, true):
		return ErrFed
	}
	return nil
}

// checkOwner says whether a connection may feed a log.
func (rs *Set) checkOwner(id segment.LogID, from Source) error {
	if from.Completes {
		return nil
	}
	names := from.Names
	owner, err := rs.Owner(id)
	if err != nil {
		return err
	}
	if len(owner) == 0 || slices.ContainsFunc(owner, func(name string) bool { return slices.Contains(names, name) }) {
		return nil
	}
	came := "a connection without a certificate"
	if len(names) > 0 {
		came = fmt.Sprintf("the names %q", names)
	}
	return &RefusedError{Reason: ReasonOwner, text: fmt.Sprintf("log %s belongs to another forwarder, and %s came: the file owner in its folder says whose it is", id, came)}
}

// Release ends it.
func (f *Feeding) Release() {
	f.lease.release(f.from.Feeder)
	f.set.leave(f.Replica)
	if f.from.New != nil {
		f.from.New.Release()
	}
}

// StartSegment starts a segment.
func (f *Feeding) StartSegment(name string, firstSequence uint64) error {
	if f.from.New != nil && !f.keyframe.Load() {
		var over *limit.Error
		if err := f.from.New.Resize(1); errors.As(err, &over) {
			return &RefusedError{Reason: over.Name, text: err.Error()}
		}
	}
	if firstSequence > f.Log.Last()+1 {
		f.hole = true
		f.requests.leaveHole(firstSequence)
	}
	return f.Replica.StartSegment(name, firstSequence)
}

// Append appends bytes of a segment. With the last of its first keyframe a log is
// confirmed.
func (f *Feeding) Append(offset uint64, data []byte) error {
	before := f.Log.Last()
	if err := f.Replica.Append(offset, data); err != nil {
		return err
	}
	if !f.known && f.keyframe.Load() {
		if err := f.set.confirm(f.Replica, f.from); err != nil {
			return err
		}
		f.known = true
		if f.from.New != nil {
			f.from.New.Release()
		}
	}
	if f.Log.Last() == before {
		return nil
	}
	if f.hole {
		f.hole = false
		f.set.recallSoon()
	}
	if !f.owned {
		return f.own()
	}
	return nil
}

// own makes the log belong to who feeds it.
func (f *Feeding) own() error {
	f.owned = true
	if len(f.from.Names) == 0 {
		return nil
	}
	owner, err := f.set.store.Owner(f.ID)
	if err == nil && !slices.Equal(owner, f.from.Names) {
		err = f.set.setOwner(f.Replica, f.from.Names)
	}
	return err
}
