package replica

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/retirement"
)

// A log is dead when nobody has fed it for a while. If all of it is beyond the retention
// then, it is retired: it gives back its place, its files are removed, and what is kept of
// it is how far it had come. So a forwarder that loses its disk now and then does not
// fill a server for good. While a log is fed, its newest segment stays, however old. Where
// there is a bucket, a dead log that is in it gives its place to one that comes.

const (
	// deadAfter is how long nobody has fed a dead log: longer than a restart of the
	// forwarder or of this server takes.
	deadAfter = time.Hour
	// retireEvery is how often it is looked for logs to retire.
	retireEvery = 30 * time.Second
)

// deadAfter is less with a short retention.
func (rs *Set) deadAfter() time.Duration {
	if retention := rs.store.RetentionTime(); retention > 0 {
		return min(deadAfter, retention/4)
	}
	return deadAfter
}

// RunRetirement retires logs until ctx ends.
func (rs *Set) RunRetirement(ctx context.Context) error {
	tick := time.NewTicker(min(retireEvery, max(rs.deadAfter()/4, time.Millisecond)))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			rs.mu.Lock()
			rs.retireDead(false)
			rs.mu.Unlock()
		}
	}
}

// retireDead retires dead logs, also for the place of one that is wanted. The caller holds
// mu.
func (rs *Set) retireDead(wanted bool) {
	now := rs.store.Now()
	var logs []retirement.Log
	for _, r := range rs.All() {
		logs = append(logs, retirement.Log{ID: r.ID, Dead: r.lease.deadFor(rs.deadAfter()), Written: r.lastWritten(now), Archived: r.archived()})
	}
	bounds := retirement.Bounds{Time: rs.store.RetentionTime(), Bucket: rs.store.HasRemote(), Places: cursor.MaxLogs, Wanted: wanted}
	bounds.Over, bounds.Overfull = rs.store.Over()
	for _, gone := range retirement.Of(logs, bounds, now) {
		i, found := rs.find(gone.ID)
		if !found {
			continue
		}
		r := rs.All()[i]
		if err := rs.retire(r); err != nil {
			rs.logger.Error("retire log", "log_id", r.ID.String(), "err", err)
			continue
		}
		level := slog.LevelInfo
		if gone.Lost {
			level = slog.LevelError
		}
		rs.logger.Log(context.Background(), level, "log retired: nobody feeds it", "log_id", r.ID.String(), "last_sequence", r.Log.Last(), "reason", gone.Why, "lost", gone.Lost)
	}
}

// archived says whether all of its blocks are in the bucket.
func (r *Replica) archived() bool {
	segments := r.Log.Segments()
	return len(segments) > 0 && !slices.ContainsFunc(segments, func(s seglog.SegmentInfo) bool {
		return !s.Archived && s.LastSequence >= s.FirstSequence
	})
}

// lastWritten is when the last block was written, or its segment if that has none. Where
// the writer's clock was ahead, it is when that came here.
func (r *Replica) lastWritten(now time.Time) time.Time {
	last := time.UnixMilli(r.written.Load())
	if newest, ok := r.Log.Newest(); ok && newest.CreateTime.After(last) {
		last = newest.CreateTime
	}
	if last.After(now) {
		if came := r.Log.Modified(); !came.IsZero() && came.Before(last) {
			return came
		}
	}
	return last
}

// retiring feeds nothing: it keeps others from feeding a log that goes.
type retiring struct{}

func (retiring) Interrupt() {}

// retire takes a log out of the list and removes it. Who reads it gets an error, and
// resumes without it. The caller holds mu.
func (rs *Set) retire(r *Replica) error {
	var by retiring
	if !r.lease.take(by, false) {
		return nil // Somebody has come.
	}
	defer r.lease.release(by)
	before := rs.Retired()
	retired := seglog.WithRetired(before, r.ID, seglog.Retired{Last: max(r.Log.Last(), before[r.ID].Last), At: rs.store.Now()})
	r.unusable.Store(true)
	rs.remove(r)
	err := r.close()
	// Cursors are understood before the log has gone.
	rs.retired.Store(&retired)
	rs.Updates.Wake()
	err = errors.Join(err, rs.store.Retire(r.ID, retired))
	return errors.Join(err, rs.applyRemote(r.ID))
}

// Retired returns what is left of logs that were retired. It is not to be changed.
func (rs *Set) Retired() map[segment.LogID]seglog.Retired { return *rs.retired.Load() }

// loadRetired reads what is left of them. Without it, cursors are told more gaps.
func (rs *Set) loadRetired() {
	retired, err := rs.store.Retired()
	if err != nil {
		rs.logger.Warn("it is not known which logs were retired", "err", err)
		retired = map[segment.LogID]seglog.Retired{}
	}
	rs.retired.Store(&retired)
}
