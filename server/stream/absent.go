package stream

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/replica"
)

// A cursor may have positions in logs that are not here: they were retired, here or
// everywhere, or this server never got them. The stream goes on without them, and tells
// the client once what it misses: nothing, if it has all that there was of a log. The
// positions stay in its cursors for as long as there is room, so that nothing comes twice
// at a replica that still has the log, or when it comes back.

// goOnWithout says how the stream goes on without a log. Nil: it waits for the log.
func (st *stream) goOnWithout(p cursor.Position) func(*cursor.Cursor) error {
	retired, known := st.streams.Replicas.Retired()[p.Log]
	switch {
	case known && p.SnapshotRef != 0:
		return func(c *cursor.Cursor) error {
			return st.tooOld(c, fmt.Errorf("log %s, of which the snapshot was, has been retired", p.Log))
		}
	case known:
		return func(*cursor.Cursor) error { st.leaveRetired(p, retired); return nil }
	case p.Gone:
		return func(*cursor.Cursor) error { st.absent = append(st.absent, p); return nil }
	}
	return nil
}

// leaveRetired is goOnWithout for a log that was retired here.
func (st *stream) leaveRetired(p cursor.Position, retired seglog.Retired) {
	if p.Sequence < retired.Last && !p.Gone {
		st.misses(&metricsv1.Gap{
			LogId: p.Log.String(), AfterSequence: p.Sequence, NextSequence: retired.Last + 1,
			Reason: "the log has been retired: nothing of it is kept any more",
		})
	}
	st.absent = append(st.absent, cursor.Position{Log: p.Log, Sequence: max(p.Sequence, retired.Last), Gone: true})
}

// leaveUnknown goes on without a log that has not come here while it was waited for,
// unless nothing that the cursor names is here.
func (st *stream) leaveUnknown(c *cursor.Cursor, p cursor.Position) error {
	err := fmt.Errorf("log %s is not known here", p.Log)
	switch {
	case !st.streams.Replicas.Fed():
		return refusal.Unavailable(err, st.cursor)
	case p.SnapshotRef != 0 || !slices.ContainsFunc(c.Positions, st.knows):
		return st.tooOld(c, err)
	}
	st.misses(&metricsv1.Gap{
		LogId: p.Log.String(), AfterSequence: p.Sequence,
		Reason: "the log is not known here: what came in it since may be missing",
	})
	p.Gone = true
	st.absent = append(st.absent, p)
	return nil
}

// knows says whether a log is here, was here, or need not be.
func (st *stream) knows(p cursor.Position) bool {
	_, retired := st.streams.Replicas.Retired()[p.Log]
	return retired || p.Gone || st.streams.Replicas.Get(p.Log) != nil
}

// misses notes a gap that the client is told of once the stream has its place in all
// logs: before that there is no cursor to go with it.
func (st *stream) misses(gap *metricsv1.Gap) {
	st.streams.Log.Log(slog.LevelWarn, "stream goes on without a log", "log_id", gap.GetLogId(), "after_sequence", gap.GetAfterSequence(), "reason", gap.GetReason())
	st.missed = append(st.missed, gap)
}

// tellMissed tells of the gaps that were noted.
func (st *stream) tellMissed() error {
	for _, gap := range st.missed {
		st.streams.metrics.gaps.Inc()
		if err := st.send(st.gapEvent(gap)); err != nil {
			return err
		}
	}
	st.missed = nil
	return nil
}

// returned says whether a log that the stream went on without is among the absent ones.
func (st *stream) returned(r *replica.Replica) (cursor.Position, bool) {
	i := slices.IndexFunc(st.absent, func(p cursor.Position) bool { return p.Log == r.ID })
	if i < 0 {
		return cursor.Position{}, false
	}
	return st.absent[i], true
}

// takeUp goes on in a log that has come back, once it has come to where the stream was.
func (st *stream) takeUp(r *replica.Replica, p cursor.Position) error {
	if r.Log.Last() < reached(p) {
		return nil
	}
	st.absent = slices.DeleteFunc(st.absent, func(other cursor.Position) bool { return other.Log == p.Log })
	return st.addAfter(r, p.Sequence, p.Entries)
}

// makeRoom lets go of absent positions, and of archived logs that were read to their end,
// where a cursor would have too many.
func (st *stream) makeRoom() {
	if over := len(st.sources) + len(st.absent) - cursor.MaxLogs; over > 0 {
		st.absent = st.absent[min(over, len(st.absent)):]
	}
	over := len(st.sources) - cursor.MaxLogs
	st.sources = slices.DeleteFunc(st.sources, func(src *source) bool {
		done := over > 0 && src.replica.Remote() && src.caughtUp() && src.deferred.len == 0
		if done {
			over--
			src.close()
		}
		return done
	})
}

// reached is the last block of which a position has any entry.
func reached(p cursor.Position) uint64 {
	if p.Entries > 0 {
		return p.Sequence + 1
	}
	return p.Sequence
}

// withAbsent adds the positions of absent logs to those of a cursor.
func (st *stream) withAbsent(positions []cursor.Position) []cursor.Position {
	if len(st.absent) == 0 {
		return positions
	}
	positions = append(positions, st.absent...)
	slices.SortFunc(positions, func(a, b cursor.Position) int { return bytes.Compare(a.Log[:], b.Log[:]) })
	return positions
}
