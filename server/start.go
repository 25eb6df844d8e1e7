package server

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
	"github.com/promgrpc/exporter/internal/segment"
)

// begin opens the logs at the place that the request names. A snapshot is sent
// before it returns.
func (st *stream) begin(req *metricsv1.GetMetricsRequest, e *evaluation) error {
	st.setSince(nil)
	switch start := req.GetStart().(type) {
	case *metricsv1.GetMetricsRequest_Cursor:
		c, err := cursor.Parse(start.Cursor)
		if err != nil {
			return connect.NewError(connect.CodeInvalidArgument, err)
		}
		st.cursor = start.Cursor
		return st.beginAt(e, c)
	case *metricsv1.GetMetricsRequest_Since:
		if err := start.Since.CheckValid(); err != nil {
			return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("since: %w", err))
		}
		// A sample has whole milliseconds, so the next one counts.
		st.setSince(new(start.Since.AsTime().Add(time.Millisecond - 1).UnixMilli()))
		return st.adopt()
	}
	return st.beginSnapshot(e)
}

// setSince has older samples left out, in ms. Nil: none.
func (st *stream) setSince(since *int64) {
	st.since, st.oldest = since, math.MinInt64
	if since != nil {
		st.oldest = *since
	}
}

// beginSnapshot sends the latest samples of the live series of all logs.
func (st *stream) beginSnapshot(e *evaluation) error {
	now := time.Now()
	for _, r := range st.streams.replicas.serving() {
		s, err := r.snapshot(e, &st.selection, now.Add(-st.streams.Staleness).UnixMilli())
		if err != nil {
			return err
		}
		defer s.view.Release()
		sequence := s.view.Sequence()
		src := st.newSource(r)
		src.until = sequence
		src.snapshotRef, src.snapshotTime = 1, now.UnixMilli()
		if err := st.reach(r, sequence); err != nil {
			return err
		}
		if err := src.readFrom(sequence); err != nil {
			return err
		}
		src.snapshot = s
		st.add(src)
		st.newest.snapshots = append(st.newest.snapshots, s)
	}
	if err := st.newest.keepNewest(st.check); err != nil {
		return err
	}
	for _, src := range st.sources {
		if err := st.sendSnapshot(src); err != nil {
			return err
		}
	}
	return nil
}

// sendSnapshot puts a snapshot into responses, and sends those that get full.
func (st *stream) sendSnapshot(src *source) error {
	s := src.snapshot
	var left leftOut
	for ref, l := range s.series() {
		if st.out.full() {
			if err := st.sendUpTo(src, ref); err != nil {
				return err
			}
		}
		if !left.fits(l.Histogram) {
			continue
		}
		ok, err := left.opened(st.open(src, ref, s.view))
		if err != nil {
			return fmt.Errorf("series %d of the snapshot at block %d: %w", ref, s.view.Sequence(), err)
		}
		if !ok {
			continue
		}
		if l.Histogram != nil {
			st.out.histogram(l.Histogram)
		} else {
			st.out.float(l.Timestamp, l.StartTimestamp, l.Value)
		}
		st.out.close()
	}
	s.view.Release()
	src.snapshot, src.snapshotRef, src.snapshotTime = nil, 0, 0
	return st.tell(left, src, src.sequence, src.sequence)
}

// sendUpTo sends the series of a snapshot below a reference.
func (st *stream) sendUpTo(src *source, ref uint64) error {
	src.snapshotRef = ref
	src.snapshot.view.Pass(ref)
	if err := st.check(); err != nil {
		return err
	}
	return st.send(noEvent)
}

// beginAt takes a stream up at a cursor.
func (st *stream) beginAt(e *evaluation, c *cursor.Cursor) error {
	st.setSince(c.Since)
	for _, p := range c.Positions {
		r, err := st.learn(c, p.Log)
		if err != nil {
			return err
		}
		whole := p.Sequence
		if p.Entries > 0 {
			whole++
		}
		if err := st.reach(r, whole); err != nil {
			return err
		}
		src := st.newSource(r)
		src.until = max(src.until, whole)
		err = src.readFrom(p.Sequence)
		var old *seglog.OutOfRangeError
		if errors.As(err, &old) {
			return st.tooOld(c, err)
		}
		if err != nil {
			return fmt.Errorf("read log %s: %w", r.id, err)
		}
		src.entries = p.Entries
		st.add(src)
		if p.SnapshotRef != 0 {
			if err := st.resumeSnapshot(e, src, c, p); err != nil {
				return err
			}
		}
	}
	return st.adopt()
}

// resumeSnapshot sends the rest of a snapshot that was begun elsewhere.
func (st *stream) resumeSnapshot(e *evaluation, src *source, c *cursor.Cursor, p cursor.Position) error {
	if last := src.replica.log.Last(); p.Sequence > last {
		return st.tooOld(c, fmt.Errorf("the snapshot was of block %d of log %s, of which nobody has more than %d", p.Sequence, src.replica.id, last))
	}
	src.snapshotRef, src.snapshotTime, src.until = p.SnapshotRef, p.SnapshotTime, p.Sequence
	writtenSince := p.SnapshotTime - st.streams.Staleness.Milliseconds()
	past, err := st.rebuild(src.replica, func(a seglog.Applier) error { return src.replica.log.Rebuild(p.Sequence, a) })
	var old *seglog.OutOfRangeError
	if errors.As(err, &old) {
		return st.tooOld(c, err)
	}
	if err != nil {
		return fmt.Errorf("take up the snapshot at block %d: %w", p.Sequence, err)
	}
	if src.snapshot, err = snapshotOf(e, past, p.SnapshotRef, &st.selection, writtenSince); err != nil {
		return err
	}
	return st.sendSnapshot(src)
}

// learn waits until there is a log, for as long as a replica may lag: one that was
// just begun may have come to another replica first. Who has no forwarder cannot
// know that it will not come.
func (st *stream) learn(c *cursor.Cursor, id segment.LogID) (*replica, error) {
	patience := time.NewTimer(st.streams.CursorWait)
	defer patience.Stop()
	for {
		news := st.streams.replicas.news.Next()
		if r := st.streams.replicas.get(id); r != nil {
			return r, nil
		}
		select {
		case <-news:
		case <-st.ctx.Done():
			return nil, context.Cause(st.ctx)
		case <-patience.C:
			err := fmt.Errorf("log %s is not known here", id)
			if !st.streams.replicas.fed() {
				return nil, unavailable(err, st.cursor)
			}
			return nil, st.tooOld(c, err)
		}
	}
}

// reach waits until a replica has a block, for as long as a replica may lag. One
// that nobody has any more is not waited for: the stream begins behind it all the same.
func (st *stream) reach(r *replica, sequence uint64) error {
	patience := time.NewTimer(st.streams.CursorWait)
	defer patience.Stop()
	for {
		news := st.streams.replicas.news.Next()
		last := r.log.Last()
		if r.serving() && (last >= sequence || r.endedForGood()) {
			return nil
		}
		select {
		case <-news:
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		case <-patience.C:
			return unavailable(fmt.Errorf("log %s has come to block %d here, the cursor is at %d", r.id, last, sequence), st.cursor)
		}
	}
}

// tooOld answers a cursor that cannot be served, with the one next to it that
// can be.
func (st *stream) tooOld(c *cursor.Cursor, cause error) error {
	oldest := cursor.Cursor{Since: c.Since}
	for _, r := range st.streams.replicas.serving() {
		first := max(r.log.First(), 1)
		p, ok := c.Of(r.id)
		if !ok {
			continue
		}
		if p.Sequence+1 < first || p.SnapshotRef != 0 {
			p = cursor.Position{Log: r.id, Sequence: max(p.Sequence, first-1)}
		}
		oldest.Positions = append(oldest.Positions, p)
	}
	if len(oldest.Positions) == 0 {
		for _, r := range st.streams.replicas.serving() {
			oldest.Positions = append(oldest.Positions, cursor.Position{Log: r.id, Sequence: max(r.log.First(), 1) - 1})
		}
	}
	st.streams.log.Log(slog.LevelWarn, "cursor is too old", "peer", st.peer, "err", cause)
	return outOfRange(cause, oldest.String())
}
