package server

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

// replicas are the logs of this server.
type replicas struct {
	store *seglog.Store
	// opening fails where a log cannot be opened or created.
	opening health
	// news wakes who waits for blocks or for logs.
	news broadcast.Signal

	mu   sync.Mutex                 // for changing the list
	list atomic.Pointer[[]*replica] // sorted by id; replaced, never changed
}

// openReplicas opens every log that the storage folder holds.
func openReplicas(store *seglog.Store) (*replicas, error) {
	rs := &replicas{store: store}
	rs.list.Store(new([]*replica))
	for _, id := range store.Logs() {
		if _, err := rs.open(id); err != nil {
			return nil, errors.Join(err, rs.close())
		}
	}
	return rs, nil
}

// all returns the logs, sorted by id.
func (rs *replicas) all() []*replica { return *rs.list.Load() }

// serving returns the logs that can be served.
func (rs *replicas) serving() []*replica {
	var serving []*replica
	for _, r := range rs.all() {
		if r.serving() {
			serving = append(serving, r)
		}
	}
	return serving
}

// fed says whether any log is being fed.
func (rs *replicas) fed() bool {
	return slices.ContainsFunc(rs.all(), func(r *replica) bool { return r.connected() })
}

func (rs *replicas) get(id segment.LogID) *replica {
	for _, r := range rs.all() {
		if r.id == id {
			return r
		}
	}
	return nil
}

// open returns the replica of a log, which is created if there is none, and
// opened anew if it is broken.
func (rs *replicas) open(id segment.LogID) (*replica, error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	list := rs.all()
	i, found := slices.BinarySearchFunc(list, id, func(r *replica, id segment.LogID) int {
		return bytes.Compare(r.id[:], id[:])
	})
	h := new(health)
	switch {
	case found && !list[i].broken.Load():
		return list[i], nil
	case found:
		// Its streams end, and go on with the new one.
		h = list[i].health
		list[i].useless.Store(true)
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
	if err := keepRequests(list); err != nil {
		return nil, errors.Join(err, r.files.Close())
	}
	rs.list.Store(&list)
	return r, nil
}

// keepRequests has each of several logs know its requests.
func keepRequests(list []*replica) error {
	if len(list) < 2 {
		return nil
	}
	for _, r := range list {
		if err := r.requests.keep(r.log); err != nil {
			return err
		}
	}
	return nil
}

// check says why blocks that come are not taken over, of any log.
func (rs *replicas) check() error {
	if err := rs.opening.check(sinceEpoch(), false); err != nil {
		return err
	}
	for _, r := range rs.all() {
		if err := r.getsOn(); err != nil {
			return fmt.Errorf("log %s: %w", r.id, err)
		}
	}
	return nil
}

// close closes the files of all logs.
func (rs *replicas) close() error {
	var errs []error
	for _, r := range rs.all() {
		errs = append(errs, r.files.Close())
	}
	return errors.Join(errs...)
}
