package replica

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/window"
)

// Set is the replicas of a server.
type Set struct {
	store   *seglog.Store
	windows *window.Memory
	filling chan struct{} // has room for the log of which the window is filled
	// recalling has room for one that reads requests from the bucket, recallable has one when
	// there may be more.
	recalling, recallable chan struct{}
	logger                *slog.Logger
	// opening fails when a log cannot be opened or created.
	opening health
	// Updates wakes those who wait for blocks or logs.
	Updates broadcast.Signal

	mu   sync.Mutex                 // for changing the following
	list atomic.Pointer[[]*Replica] // sorted by id; replaced, never changed
	// unconfirmed are logs that are not in the list yet.
	unconfirmed map[segment.LogID]*unconfirmed
	// archived are logs of which nothing is on the disk, sorted by id; replaced, never
	// changed. remote is what the bucket has of all logs.
	archived atomic.Pointer[[]*Replica]
	remote   map[segment.LogID][]seglog.RemoteInfo
	// unlisted says that there is a bucket of which nobody knows what it has.
	unlisted atomic.Bool
	// refused is when a log was last refused because there are too many, since epoch; 0:
	// never.
	refused atomic.Int64
	// retired is what is left of logs that were retired; replaced, never changed.
	retired atomic.Pointer[map[segment.LogID]seglog.Retired]
}

// Open opens every log that the storage folder holds, with windows of recent samples unless
// they are nil. What has no whole keyframe is removed: its connection has ended.
func Open(store *seglog.Store, windows *window.Memory, logger *slog.Logger) (*Set, error) {
	rs := &Set{store: store, windows: windows, filling: make(chan struct{}, 1), recalling: make(chan struct{}, 1), recallable: make(chan struct{}, 1), logger: logger, unconfirmed: map[segment.LogID]*unconfirmed{}, remote: map[segment.LogID][]seglog.RemoteInfo{}}
	rs.list.Store(new([]*Replica))
	rs.archived.Store(new([]*Replica))
	rs.loadRetired()
	for _, id := range store.Logs() {
		if err := rs.load(id); err != nil {
			return nil, errors.Join(err, rs.Close())
		}
	}
	return rs, nil
}

func (rs *Set) load(id segment.LogID) error {
	r, err := openReplica(rs.store, id, new(health), rs.windows.New())
	if err != nil {
		return err
	}
	if !r.keyframe.Load() {
		err := r.close()
		rs.store.Remove(id)
		return err
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if full := rs.room(id); full != nil {
		// It waits for a place, and for its forwarder.
		rs.logger.Error("a log is not opened", "log_id", id.String(), "err", full)
		return r.close()
	}
	if err := rs.add(r); err != nil {
		return errors.Join(err, r.close())
	}
	return nil
}

// All returns the logs, sorted by id.
func (rs *Set) All() []*Replica { return *rs.list.Load() }

// Serving returns the logs that can be served.
func (rs *Set) Serving() []*Replica {
	var serving []*Replica
	for _, r := range rs.All() {
		if r.Serving() {
			serving = append(serving, r)
		}
	}
	return serving
}

// Fed says whether any log is being fed.
func (rs *Set) Fed() bool {
	return slices.ContainsFunc(rs.All(), func(r *Replica) bool { return r.Connected() })
}

// Get returns the replica of a log, which may be archived, nil if there is none.
func (rs *Set) Get(id segment.LogID) *Replica {
	for _, r := range slices.Concat(rs.All(), rs.Archived()) {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// find returns where in the list a log is, or would be.
func (rs *Set) find(id segment.LogID) (i int, found bool) {
	return slices.BinarySearchFunc(rs.All(), id, func(r *Replica, id segment.LogID) int {
		return bytes.Compare(r.ID[:], id[:])
	})
}

// room says whether there is a place for one more log. The caller holds mu.
func (rs *Set) room(id segment.LogID) error {
	if len(rs.All()) >= cursor.MaxLogs {
		rs.retireDead(true)
	}
	if len(rs.All()) >= cursor.MaxLogs {
		rs.refused.Store(sinceEpoch())
		return &RefusedError{Reason: ReasonFull, text: fmt.Sprintf("log %s: %s", id, errFull)}
	}
	return nil
}

// reserved are places that logs have only which a forwarder brings, so that other servers
// do not take them up.
const reserved = 8

// Room is for how many logs more that no forwarder brings there are places.
func (rs *Set) Room() int { return max(0, cursor.MaxLogs-reserved-len(rs.All())) }

// roomFor is room for who brings a log. The caller holds mu.
func (rs *Set) roomFor(id segment.LogID, from Source) error {
	switch {
	case !from.Completes:
		return rs.room(id)
	case rs.Room() == 0:
		return &RefusedError{Reason: ReasonFull, text: fmt.Sprintf("log %s: the places that are left are for logs that forwarders bring", id)}
	}
	return nil
}

// add adds a log to the list, in place of itself if it was opened again. The caller holds
// mu.
func (rs *Set) add(r *Replica) error {
	i, found := rs.find(r.ID)
	list := slices.Clone(rs.All())
	if r.Window != nil {
		r.fill(rs.filling)
	}
	if found {
		list[i] = r
	} else {
		list = slices.Insert(list, i, r)
	}
	if err := loadRequests(list, len(rs.Archived())); err != nil {
		return err
	}
	rs.list.Store(&list)
	rs.recallSoon()
	return nil
}

// remove takes a log out of the list. The caller holds mu.
func (rs *Set) remove(r *Replica) {
	list := slices.DeleteFunc(slices.Clone(rs.All()), func(other *Replica) bool { return other == r })
	rs.list.Store(&list)
}

// usable returns the replica at a place in the list, opened again if it is broken. The
// caller holds mu.
func (rs *Set) usable(i int) (*Replica, error) {
	old := rs.All()[i]
	if !old.broken.Load() {
		return old, nil
	}
	// Its streams end, and resume at the new one.
	old.unusable.Store(true)
	_ = old.close()
	r, err := rs.open(old.ID, old.health)
	if err != nil {
		return nil, err
	}
	if err := rs.add(r); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// open opens a replica, and notes whether that works.
func (rs *Set) open(id segment.LogID, h *health) (*Replica, error) {
	rs.closeArchived(id)
	r, err := openReplica(rs.store, id, h, rs.windows.New())
	if err != nil {
		h.fail()
		rs.opening.fail()
		return nil, err
	}
	if infos := rs.remote[id]; len(infos) > 0 {
		r.Log.SetRemote(infos)
	}
	rs.opening.recover()
	return r, nil
}

// loadRequests makes each log know its requests if there are others, which may be archived.
func loadRequests(list []*Replica, archived int) error {
	if len(list)+archived < 2 {
		return nil
	}
	for _, r := range list {
		if err := r.requests.load(r.Log); err != nil {
			return err
		}
	}
	return nil
}

// Check says why blocks that come are not appended, of any log.
func (rs *Set) Check() error {
	if err := rs.opening.check(sinceEpoch(), false); err != nil {
		return err
	}
	if refused := rs.refused.Load(); refused != 0 && sinceEpoch()-refused < int64(failedTime) {
		return errFull
	}
	for _, r := range rs.All() {
		if err := r.blocked(); err != nil {
			return fmt.Errorf("log %s: %w", r.ID, err)
		}
	}
	return nil
}

// Close closes the files of all logs. Nobody may be feeding one.
func (rs *Set) Close() error {
	var errs []error
	for _, r := range rs.All() {
		errs = append(errs, r.close())
	}
	for _, r := range rs.Archived() {
		r.Log.CloseRemote()
	}
	return errors.Join(errs...)
}
