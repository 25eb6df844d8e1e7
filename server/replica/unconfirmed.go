package replica

import (
	"errors"
	"slices"

	"github.com/promgrpc/exporter/internal/segment"
)

// A log is confirmed once a whole keyframe of it has come. Before that it takes none of
// the places that logs have, is not served, and is nowhere to be seen. It goes, files and
// all, with the last connection that brings it.

// unconfirmed is a log that is not confirmed.
type unconfirmed struct {
	*Replica
	names []string // of whom came with it first
	users int      // connections that feed it or wait for that
}

// take returns the replica of a log for a connection. A log that is not known is
// unconfirmed. The caller calls leave.
func (rs *Set) take(id segment.LogID, from Source) (*Replica, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if i, found := rs.find(id); found {
		return rs.usable(i)
	}
	u := rs.unconfirmed[id]
	if u == nil {
		if err := rs.roomFor(id, from); err != nil {
			return nil, err
		}
		r, err := rs.open(id, new(health))
		if err != nil {
			return nil, err
		}
		if r.keyframe.Load() { // There was no place for it when it was found.
			if err := rs.add(r); err != nil {
				return nil, errors.Join(err, r.close())
			}
			return r, nil
		}
		u = &unconfirmed{Replica: r, names: slices.Clone(from.owner())}
		rs.unconfirmed[id] = u
	}
	u.users++
	return u.Replica, nil
}

// leave is for a connection that took a replica and does not feed it any more.
func (rs *Set) leave(r *Replica) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	u := rs.unconfirmed[r.ID]
	if u == nil || u.Replica != r {
		return
	}
	if r.broken.Load() {
		rs.opening.fail()
	}
	if u.users--; u.users > 0 && !r.broken.Load() {
		return
	}
	delete(rs.unconfirmed, r.ID)
	r.unusable.Store(true)
	_ = r.close()
	rs.store.Remove(r.ID)
	if err := rs.applyRemote(r.ID); err != nil {
		rs.logger.Warn("open log of the bucket", "log_id", r.ID.String(), "err", err)
	}
}

// confirm gives a log its place, and its owner, unless it has one already.
func (rs *Set) confirm(r *Replica, from Source) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if u := rs.unconfirmed[r.ID]; u == nil || u.Replica != r {
		return nil
	}
	if err := rs.roomFor(r.ID, from); err != nil {
		return err
	}
	if owner := from.owner(); len(owner) > 0 {
		if err := rs.setOwner(r, owner); err != nil {
			return err
		}
	}
	if err := rs.add(r); err != nil {
		return err
	}
	delete(rs.unconfirmed, r.ID)
	return nil
}
