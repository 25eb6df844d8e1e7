package replica

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// Set is the replicas of a server.
type Set struct {
	store *seglog.Store
	// opening fails when a log cannot be opened or created.
	opening health
	// Updates wakes those who wait for blocks or logs.
	Updates broadcast.Signal

	mu   sync.Mutex                 // for changing the list
	list atomic.Pointer[[]*Replica] // sorted by id; replaced, never changed
}

// Open opens every log that the storage folder holds.
func Open(store *seglog.Store) (*Set, error) {
	rs := &Set{store: store}
	rs.list.Store(new([]*Replica))
	for _, id := range store.Logs() {
		if _, err := rs.open(id); err != nil {
			return nil, errors.Join(err, rs.Close())
		}
	}
	return rs, nil
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

// Get returns the replica of a log, nil if there is none.
func (rs *Set) Get(id segment.LogID) *Replica {
	for _, r := range rs.All() {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// open returns the replica of a log, which is created if there is none, and reopened
// if it is broken.
func (rs *Set) open(id segment.LogID) (*Replica, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	list := rs.All()
	i, found := slices.BinarySearchFunc(list, id, func(r *Replica, id segment.LogID) int {
		return bytes.Compare(r.ID[:], id[:])
	})
	h := new(health)
	switch {
	case found && !list[i].broken.Load():
		return list[i], nil
	case found:
		// Its streams end, and resume at the new one.
		h = list[i].health
		list[i].unusable.Store(true)
		_ = list[i].files.Close()
	case len(list) >= cursor.MaxPositions:
		return nil, fmt.Errorf("open log %s: this server holds %d logs, the most that a cursor can carry", id, len(list))
	}
	r, err := openReplica(rs.store, id, h)
	if err != nil {
		h.fail()
		rs.opening.fail()
		return nil, err
	}
	rs.opening.recover()
	list = slices.Clone(list)
	if found {
		list[i] = r
	} else {
		list = slices.Insert(list, i, r)
	}
	if err := loadRequests(list); err != nil {
		return nil, errors.Join(err, r.files.Close())
	}
	rs.list.Store(&list)
	return r, nil
}

// loadRequests makes each of several logs know its requests.
func loadRequests(list []*Replica) error {
	if len(list) < 2 {
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
	for _, r := range rs.All() {
		if err := r.blocked(); err != nil {
			return fmt.Errorf("log %s: %w", r.ID, err)
		}
	}
	return nil
}

// Close closes the files of all logs.
func (rs *Set) Close() error {
	var errs []error
	for _, r := range rs.All() {
		errs = append(errs, r.files.Close())
	}
	return errors.Join(errs...)
}
