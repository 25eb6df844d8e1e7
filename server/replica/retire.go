package replica

import (
	"context"
	"errors"
	"time"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// A log is dead when nobody has fed it for a while. If all of it is beyond the retention
// then, it is retired: it gives back its place, its files are removed, and what is kept of
// it is how far it had come. So a forwarder that loses its disk now and then does not
// fill a server for good. While a log is fed, its newest segment stays, however old.

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
			rs.retireDead()
			rs.mu.Unlock()
		}
	}
}

// retireDead retires the dead logs that are beyond the retention. The caller holds mu.
func (rs *Set) retireDead() {
	for r, why := range rs.beyondRetention() {
		if err := rs.retire(r); err != nil {
			rs.logger.Error("retire log", "log_id", r.ID.String(), "err", err)
			continue
		}
		rs.logger.Info("log retired: nobody feeds it, and all of it is beyond the retention", "log_id", r.ID.String(), "last_sequence", r.Log.Last(), "retention", why)
	}
}

// beyondRetention returns the dead logs to retire, and why. The caller holds mu.
func (rs *Set) beyondRetention() map[*Replica]string {
	now := rs.store.Now()
	found := map[*Replica]string{}
	var oldest *Replica
	for _, r := range rs.All() {
		if !r.lease.deadFor(rs.deadAfter()) {
			continue
		}
		if retention := rs.store.RetentionTime(); retention > 0 && now.Sub(r.lastWritten(now)) > retention {
			found[r] = "time"
		}
		if oldest == nil || r.lastWritten(now).Before(oldest.lastWritten(now)) {
			oldest = r
		}
	}
	if len(found) == 0 && oldest != nil && rs.store.Over() {
		found[oldest] = "size"
	}
	return found
}

// lastWritten is when the last block was written, or its segment if that has none. Where
// the writer's clock was ahead, it is when that came here.
func (r *Replica) lastWritten(now time.Time) time.Time {
	last := time.UnixMilli(r.written.Load())
	if segments := r.Log.Segments(); len(segments) > 0 {
		if created := segments[len(segments)-1].CreateTime; created.After(last) {
			last = created
		}
	}
	if last.After(now) {
		if came := r.Log.Modified(); !came.IsZero() && came.Before(last) {
			return came
		}
	}
	return last
}

// retirement feeds nothing: it keeps others from feeding a log that goes.
type retirement struct{}

func (retirement) Interrupt() {}

// retire takes a log out of the list and removes it. Who reads it gets an error, and
// resumes without it. The caller holds mu.
func (rs *Set) retire(r *Replica) error {
	var by retirement
	if !r.lease.take(by) {
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
	return errors.Join(err, rs.store.Retire(r.ID, retired))
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
