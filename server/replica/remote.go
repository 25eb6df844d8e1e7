package replica

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// A log of which nothing is on the disk is archived if the bucket has something of it. It
// takes none of the places that logs have, and has no state: it is in no snapshot, nor in
// what a stream is given that does not ask for it. It is read by cursors that name it, by
// streams that start at a time that it reaches into, and by queries of old times.

// SetRemote says what the bucket has of a log, in place of what it was said to have.
func (rs *Set) SetRemote(id segment.LogID, infos []seglog.RemoteInfo) error {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.remote[id] = infos; len(infos) == 0 {
		delete(rs.remote, id)
	}
	return rs.applyRemote(id)
}

// SetListed says whether it is known what the bucket has.
func (rs *Set) SetListed(listed bool) { rs.unlisted.Store(!listed) }

// Listed fails while it is not known what the bucket has of what is not on the disk: that
// something is not here does not say then that it is nowhere.
func (rs *Set) Listed() error {
	if rs.unlisted.Load() {
		return fmt.Errorf("%w: it has not been listed yet", seglog.ErrRemote)
	}
	return nil
}

// applyRemote gives a log what the bucket has of it. The caller holds mu.
func (rs *Set) applyRemote(id segment.LogID) error {
	infos := rs.remote[id]
	if i, found := rs.find(id); found {
		rs.All()[i].Log.SetRemote(infos)
		rs.recallSoon()
		return nil
	}
	if u := rs.unconfirmed[id]; u != nil {
		u.Log.SetRemote(infos)
		return nil
	}
	if len(infos) == 0 {
		rs.closeArchived(id)
		return nil
	}
	for _, r := range rs.Archived() {
		if r.ID == id {
			r.Log.SetRemote(infos)
			return nil
		}
	}
	log, err := rs.store.OpenRemote(id, infos)
	if err != nil {
		return err
	}
	r := &Replica{ID: id, Log: log, state: newState(nil), lease: newLease(), health: new(health)}
	r.ready.Store(true)
	list := append(slices.Clone(rs.Archived()), r)
	slices.SortFunc(list, func(a, b *Replica) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	rs.archived.Store(&list)
	rs.Updates.Wake()
	err = loadRequests(rs.All(), len(list))
	rs.recallSoon()
	return err
}

// closeArchived closes a log that is archived, if it is. Who reads it gets an error, and
// resumes where it is now. The caller holds mu.
func (rs *Set) closeArchived(id segment.LogID) {
	list := slices.DeleteFunc(slices.Clone(rs.Archived()), func(r *Replica) bool {
		if r.ID == id {
			r.unusable.Store(true)
			r.Log.CloseRemote()
		}
		return r.ID == id
	})
	rs.archived.Store(&list)
}

// Archived returns the logs of which nothing is on the disk, sorted by id.
func (rs *Set) Archived() []*Replica { return *rs.archived.Load() }

// Readable returns the logs that can be served, and those that are archived.
func (rs *Set) Readable() []*Replica { return slices.Concat(rs.Serving(), rs.Archived()) }

// Remote says that nothing of the log is on the disk.
func (r *Replica) Remote() bool { return r.files == nil }
