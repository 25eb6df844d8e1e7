package forwarder

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// A log that may have lost blocks at its end is not written again: a server may have
// them, and other blocks under the same sequences would make the two diverge. The log
// has ended. Servers still get what was answered in it, and what was lost of it is
// fetched from a server that has it.

// endedLogs are the logs that are not written any more, as long as they are kept.
type endedLogs struct {
	logger *slog.Logger
	// room for what is fetched from servers.
	room *limit.Budget
	turn time.Duration // [fetchTurn], but in tests

	mu   sync.Mutex
	logs []*endedLog                // the oldest first
	gone map[segment.LogID]struct{} // of which nothing is kept any more
	more broadcast.Signal
}

func newEndedLogs(logger *slog.Logger) *endedLogs {
	return &endedLogs{logger: logger, room: newFetchRoom(), turn: fetchTurn, gone: map[segment.LogID]struct{}{}}
}

// endedLog is one of them.
type endedLog struct {
	id    segment.LogID
	store logStore
	// fetching is held by who fetches what a server has of it.
	fetching sync.Mutex

	mu     sync.Mutex
	mirror *seglog.Mirror
	closed bool
}

// adopt opens all logs but the present one. What cannot be opened is tried again the
// next time.
func (e *endedLogs) adopt(store logStore, present segment.LogID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := len(e.logs)
	for _, id := range store.ids() {
		if id == present || slices.ContainsFunc(e.logs, func(l *endedLog) bool { return l.id == id }) {
			continue
		}
		mirror, err := store.openEnded(id)
		if err != nil {
			e.logger.Error("a log that has ended cannot be opened: servers do not get what they lack of it", "log_id", id.String(), "err", err)
			continue
		}
		e.logs = append(e.logs, &endedLog{id: id, store: store, mirror: mirror})
	}
	if len(e.logs) == before {
		return
	}
	slices.SortStableFunc(e.logs, func(a, b *endedLog) int { return cmp.Compare(a.created(), b.created()) })
	e.more.Wake()
}

// all returns the logs; watch also returns a channel that is closed when there are
// more.
func (e *endedLogs) all() []*endedLog {
	logs, _ := e.watch()
	return logs
}

func (e *endedLogs) watch() ([]*endedLog, <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.logs), e.more.Next()
}

// expire gives up a log of which nothing is kept any more: its file is open still, and
// takes room on the disk.
func (e *endedLogs) expire(l *endedLog) {
	e.mu.Lock()
	e.logs = slices.DeleteFunc(e.logs, func(other *endedLog) bool { return other == l })
	e.gone[l.id] = struct{}{}
	e.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	if err := l.mirror.Close(); err != nil {
		e.logger.Warn("close a log that has ended", "log_id", l.id.String(), "err", err)
	}
}

// expired says that nothing is kept of a log any more.
func (e *endedLogs) expired(id segment.LogID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, gone := e.gone[id]
	return gone
}

func (e *endedLogs) close() error {
	var errs []error
	for _, l := range e.all() {
		l.mu.Lock()
		l.closed = true
		errs = append(errs, l.mirror.Close())
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}

// log is what can be read of it.
func (l *endedLog) log() *seglog.Log { return l.files().Log() }

func (l *endedLog) files() *seglog.Mirror {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mirror
}

// end is its last block.
func (l *endedLog) end() place { return place{&l.id, l.log().Last()} }

// created is when its newest segment was created, 0 if there is none.
func (l *endedLog) created() int64 {
	segments := l.log().Segments()
	if len(segments) == 0 {
		return 0
	}
	return segments[len(segments)-1].CreateTime.UnixMilli()
}

// reopen opens it again after what was fetched could not be written.
func (l *endedLog) reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return seglog.ErrClosed
	}
	_ = l.mirror.Close() // It is broken.
	mirror, err := l.store.openEnded(l.id)
	if err != nil {
		return err
	}
	l.mirror = mirror
	return nil
}
