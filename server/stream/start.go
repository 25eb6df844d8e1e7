package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// A stream has a source for each log. Where that starts depends on the request, and what
// comes after it is the same for all:
//
//	oldest block                      present
//	  v                                 v
//	  |---------------------------------|- - - -   the log
//	  since:  |------------------------>            blocks, old samples left out
//	  latest:                         S |------->   snapshot S, then the blocks after it
//	  cursor:        |----------------->            the blocks after its position
//	  cursor within a snapshot:  s      |------->   the rest of S, rebuilt from the log
//
// A log that the cursor does not name is new to the client, and comes from its oldest
// block on, unless it is archived. A cursor of the beginning, that has a time, is as that
// time alone. The stream may go on without one that is not here, see absent.go. A source's
// until is the present at the start: when all have come to theirs, the stream is synced,
// or ends if it does not follow. While a snapshot is sent, the series below snapshotRef
// have been; while blocks are, it is zero.

// start opens the logs where the request says. A snapshot is sent before it returns.
func (st *stream) start(req *metricsv1.GetMetricsRequest, e *selection.Evaluation) error {
	st.setSince(nil)
	switch start := req.GetStart().(type) {
	case *metricsv1.GetMetricsRequest_Cursor:
		c, err := st.rights.ParseCursor(start.Cursor)
		if err != nil {
			return connect.NewError(connect.CodeInvalidArgument, err)
		}
		st.cursor = start.Cursor
		return st.startAt(e, c)
	case *metricsv1.GetMetricsRequest_Since:
		if err := start.Since.CheckValid(); err != nil {
			return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("since: %w", err))
		}
		// Samples have whole milliseconds, so this rounds up.
		st.setSince(new(start.Since.AsTime().Add(time.Millisecond - 1).UnixMilli()))
		return st.startSince()
	}
	return st.startSnapshot(e)
}

// setSince sets the time (ms) before which samples are left out. Nil: none are.
func (st *stream) setSince(since *int64) {
	st.since, st.oldest = since, math.MinInt64
	if since != nil {
		st.oldest = *since
	}
}

// startSnapshot sends the latest samples of the live series of all logs.
func (st *stream) startSnapshot(e *selection.Evaluation) error {
	now := time.Now()
	for _, r := range st.streams.Replicas.Serving() {
		s, err := r.Snapshot(e, &st.selection, now.Add(-st.streams.Staleness).UnixMilli())
		if err != nil {
			return err
		}
		defer s.View.Release()
		sequence := s.View.Sequence()
		src := st.newSource(r)
		src.until = sequence
		src.snapshotRef, src.snapshotTime = 1, now.UnixMilli()
		if err := st.awaitBlock(r, sequence); err != nil {
			return err
		}
		if err := src.readAfter(sequence); err != nil {
			return err
		}
		src.snapshot = s
		st.add(src)
		st.newest.Snapshots = append(st.newest.Snapshots, s)
	}
	if err := st.newest.KeepNewest(st.check); err != nil {
		return err
	}
	for _, src := range st.sources {
		if err := st.sendSnapshot(src); err != nil {
			return err
		}
	}
	return nil
}

// sendSnapshot puts a snapshot into responses, and sends those that are full.
func (st *stream) sendSnapshot(src *source) error {
	s := src.snapshot
	var left leftOut
	for ref, l := range s.Series() {
		if st.out.full() {
			if err := st.sendUpTo(src, ref); err != nil {
				return err
			}
		}
		if !left.fits(l.Histogram) {
			continue
		}
		ok, err := left.opened(st.openSeries(src, ref, s.View))
		if err != nil {
			return fmt.Errorf("series %d of the snapshot at block %d: %w", ref, s.View.Sequence(), err)
		}
		if !ok {
			continue
		}
		if l.Histogram != nil {
			st.out.histogram(l.Histogram)
		} else {
			st.out.float(l.Timestamp, l.StartTimestamp, l.Value)
		}
		st.out.closeSeries()
	}
	s.View.Release()
	src.snapshot, src.snapshotRef, src.snapshotTime = nil, 0, 0
	return st.report(left, src, src.sequence, src.sequence)
}

// sendUpTo sends the series of a snapshot below a ref.
func (st *stream) sendUpTo(src *source, ref uint64) error {
	src.snapshotRef = ref
	src.snapshot.View.ReleaseBelow(ref)
	if err := st.check(); err != nil {
		return err
	}
	return st.send(noEvent)
}

// startAt resumes at a cursor.
func (st *stream) startAt(e *selection.Evaluation, c *cursor.Cursor) error {
	st.setSince(c.Since)
	if len(c.Positions) == 0 && c.Since != nil {
		return st.startSince()
	}
	until := time.Now().Add(st.streams.CursorWait)
	for _, p := range c.Positions {
		r, err := st.awaitLog(c, p, until)
		if err != nil {
			return err
		}
		whole := reached(p)
		switch {
		case r == nil:
			continue
		case p.Gone && r.Log.Last() < whole:
			st.absent = append(st.absent, p)
			continue
		}
		if err := st.awaitBlock(r, whole); err != nil {
			return err
		}
		src := st.newSource(r)
		src.until = max(src.until, whole)
		err = src.readAfter(p.Sequence)
		var old *seglog.OutOfRangeError
		if errors.As(err, &old) {
			return st.tooOld(c, err)
		}
		if err != nil {
			return fmt.Errorf("read log %s: %w", r.ID, err)
		}
		src.entries = p.Entries
		st.add(src)
		if err := st.loadPassed(src); err != nil {
			return fmt.Errorf("read log %s: %w", r.ID, err)
		}
		if p.SnapshotRef != 0 {
			if err := st.resumeSnapshot(e, src, c, p); err != nil {
				return err
			}
		}
	}
	if err := st.tellMissed(); err != nil {
		return err
	}
	return st.addNewLogs()
}

// resumeSnapshot sends the rest of a snapshot that was started elsewhere.
func (st *stream) resumeSnapshot(e *selection.Evaluation, src *source, c *cursor.Cursor, p cursor.Position) error {
	if last := src.replica.Log.Last(); p.Sequence > last {
		return st.tooOld(c, fmt.Errorf("the snapshot was of block %d of log %s, of which nobody has more than %d", p.Sequence, src.replica.ID, last))
	}
	src.snapshotRef, src.snapshotTime, src.until = p.SnapshotRef, p.SnapshotTime, p.Sequence
	writtenSince := p.SnapshotTime - st.streams.Staleness.Milliseconds()
	past, err := st.rebuild(src.replica, func(a seglog.Applier) error {
		return src.replica.Log.Rebuild(p.Sequence, a, st.decoding.wait)
	})
	var old *seglog.OutOfRangeError
	if errors.As(err, &old) {
		return st.tooOld(c, err)
	}
	if err != nil {
		return fmt.Errorf("resume the snapshot at block %d: %w", p.Sequence, err)
	}
	if src.snapshot, err = replica.SnapshotOf(e, past, p.SnapshotRef, &st.selection, writtenSince); err != nil {
		return err
	}
	return st.sendSnapshot(src)
}

// awaitLog waits for a log as long as a replica may lag, for all logs of a cursor together:
// a new one may have come to another replica first, as may the end of one that is archived.
// A server without a forwarder cannot know that it will not come here. It is nil if the
// stream goes on without the log.
func (st *stream) awaitLog(c *cursor.Cursor, p cursor.Position, until time.Time) (*replica.Replica, error) {
	patience := time.NewTimer(time.Until(until))
	defer patience.Stop()
	for {
		updates := st.streams.Replicas.Updates.Next()
		if r := st.streams.Replicas.Get(p.Log); r != nil && (!r.Remote() || r.Log.Last() >= reached(p)) {
			return r, nil
		}
		if leave := st.goOnWithout(p); leave != nil {
			return nil, leave(c)
		}
		select {
		case <-updates:
		case <-st.ctx.Done():
			return nil, context.Cause(st.ctx)
		case <-patience.C:
			return nil, st.leaveUnknown(c, p)
		}
	}
}

// awaitBlock waits for a block as long as a replica may lag. A block that nobody has
// any more is not waited for: the stream starts after it all the same.
func (st *stream) awaitBlock(r *replica.Replica, sequence uint64) error {
	patience := time.NewTimer(st.streams.CursorWait)
	defer patience.Stop()
	for {
		updates := st.streams.Replicas.Updates.Next()
		last := r.Log.Last()
		if r.Serving() && (last >= sequence || r.EndedForGood()) {
			return nil
		}
		select {
		case <-updates:
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		case <-patience.C:
			return refusal.Unavailable(fmt.Errorf("log %s has come to block %d here, the cursor is at %d", r.ID, last, sequence), st.cursor)
		}
	}
}

// tooOld is the error for a cursor that cannot be served. It has the nearest one that
// can, unless what is older may be in the bucket.
func (st *stream) tooOld(c *cursor.Cursor, cause error) error {
	if err := st.streams.Replicas.Listed(); err != nil {
		return err
	}
	oldest := cursor.Cursor{Since: c.Since}
	for _, r := range st.streams.Replicas.Serving() {
		first := max(r.Log.First(), 1)
		p, ok := c.Of(r.ID)
		if !ok {
			continue
		}
		if p.Sequence+1 < first || p.SnapshotRef != 0 {
			p = cursor.Position{Log: r.ID, Sequence: max(p.Sequence, first-1)}
		}
		oldest.Positions = append(oldest.Positions, p)
	}
	if len(oldest.Positions) > 0 {
		oldest.Positions = st.withAbsent(oldest.Positions)
	} else {
		for _, r := range st.streams.Replicas.Serving() {
			oldest.Positions = append(oldest.Positions, cursor.Position{Log: r.ID, Sequence: max(r.Log.First(), 1) - 1})
		}
	}
	st.streams.Log.Log(slog.LevelWarn, "cursor is too old", "peer", st.peer, "err", cause)
	return refusal.OutOfRange(cause, st.rights.Cursor(&oldest))
}
