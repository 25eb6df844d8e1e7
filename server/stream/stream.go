package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/admission"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/watch"
)

// stream is a call of GetMetrics. It belongs to one goroutine, which reads the logs in
// turn, assembles responses, and waits for blocks at the end: a slow client delays
// nobody but itself.
type stream struct {
	streams   *Streams
	ctx       context.Context
	peer      string
	rights    *admission.Rights
	sender    *call.Sender
	selection selection.Selection
	// evaluation of the series that come after the start
	evaluation *selection.Evaluation
	follow     bool
	heartbeat  time.Duration
	since      *int64 // of the request, in ms; nil: none
	oldest     int64  // ms; samples with older timestamps are left out

	sources []*source // sorted by log
	// absent are positions in logs that are not here.
	absent   []cursor.Position
	missed   []*metricsv1.Gap // that the client has to be told
	newest   replica.Newest
	hold     *limit.Hold // of the bytes of all streams' state
	decoding decoding
	step     func() error // of decoding
	// rebuilding is the past state that is being rebuilt, nil: none.
	rebuilding *past
	out        assembler
	conflate   *conflation // nil: every sample is sent
	synced     bool
	// watch wakes the stream, nil: each block does.
	watch *watch.Watch
	// wide says that the stream has too many series to be watched.
	wide bool
	age  call.Age
	// references: labels are sent once, then a reference for them
	references bool
	// stride and part as in introduced
	stride, part uint64
	// forgetAbove is how many of them there are when those of series that are gone are
	// counted again.
	forgetAbove int
	lastSent    time.Time
	cursor      string // of the last response, or of the request before the first
}

// run reads the logs and sends what is selected, up to the present of the start or, if
// it follows, until an error.
func (st *stream) run() error {
	timer := time.NewTimer(st.heartbeat)
	defer timer.Stop()
	for {
		updates := st.streams.Replicas.Updates.Next()
		if st.follow {
			if err := st.addNewLogs(); err != nil {
				return err
			}
		}
		idle, err := st.round()
		if err != nil {
			return err
		}
		if err := st.conflate.flushDue(st); err != nil {
			return err
		}
		if err := st.account(); err != nil {
			return err
		}
		if idle {
			done, err := st.atEnd()
			if err != nil || done {
				return err
			}
			if err := st.startWatching(); err != nil {
				return err
			}
		}
		if err := st.endAged(); err != nil {
			return err
		}
		// A replay that selects nothing must not look dead either.
		if err := st.beat(); err != nil {
			return err
		}
		if !idle {
			if st.ctx.Err() != nil {
				return context.Cause(st.ctx)
			}
			continue
		}
		if st.watch != nil {
			updates = st.watch.Woken()
		}
		timer.Reset(st.maxWait())
		select {
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		case <-updates:
		case <-timer.C:
		}
		st.passOver()
	}
}

// beat sends a heartbeat if nothing was sent for that long.
func (st *stream) beat() error {
	if time.Since(st.lastSent) < st.heartbeat {
		return nil
	}
	return st.send(heartbeat)
}

// round delivers the next block of each log. It is idle if there was none. Where the
// caller may not see all series, it is the next block with any that it selects: else the
// order in which logs take turns would tell how many others there are.
func (st *stream) round() (idle bool, err error) {
	idle = true
	for _, src := range st.sources {
		for last := src.replica.Log.Last(); ; {
			if !st.follow && src.caughtUp() {
				break
			}
			found, err := st.next(src)
			if err != nil {
				return false, err
			}
			if found == nothing {
				break
			}
			idle = false
			if found == selected || !st.rights.Restricted() || src.sequence >= last {
				break
			}
			if err := st.passedOver(); err != nil {
				return false, err
			}
		}
	}
	return idle, nil
}

// found is what came next in a log.
type found int

const (
	nothing  found = iota // for now
	others                // a block of which nothing was selected
	selected              // a block, or a gap
)

// next delivers the next block of a log.
func (st *stream) next(src *source) (found, error) {
	last := src.replica.Log.Last()
	b, err := src.reader.Next(st.step)
	st.decoding.release()
	var gap *seglog.GapError
	switch {
	case errors.As(err, &gap):
		return selected, st.gap(src, gap)
	case err != nil:
		return nothing, fmt.Errorf("read log %s: %w", src.replica.ID, err)
	case b == nil:
		// All up to last has been read.
		src.sequence = max(src.sequence, last)
		return nothing, nil
	}
	has, err := st.deliver(src, b)
	if err != nil {
		return nothing, err
	}
	src.passed.Add(b.Digest, replica.Stored{Sequence: b.Sequence, Rejected: b.Verdict.Rejected})
	src.matched.prune(src.replica.Head)
	if !has {
		return others, nil
	}
	return selected, nil
}

// passedOver is called after a block of which nothing was selected. A stream that passes
// over many must not look dead, and ends with its client.
func (st *stream) passedOver() error {
	if err := st.check(); err != nil {
		return err
	}
	return st.beat()
}

// gap tells the client what is missing.
func (st *stream) gap(src *source, gap *seglog.GapError) error {
	src.sequence, src.entries = gap.Next-1, 0
	reason := "retention overtook the stream"
	if gap.Cause != nil {
		reason = "a segment is damaged"
	}
	st.streams.metrics.gaps.Inc()
	st.streams.Log.Log(slog.LevelWarn, "stream has a gap", "log_id", src.replica.ID.String(),
		"after_sequence", gap.After, "next_sequence", gap.Next, "err", gap)
	return st.send(st.gapEvent(&metricsv1.Gap{
		LogId:         src.replica.ID.String(),
		AfterSequence: gap.After,
		NextSequence:  gap.Next,
		Reason:        reason,
	}))
}

// atEnd sends what there is, as there is no more to read for now, and says whether the
// stream is complete.
func (st *stream) atEnd() (done bool, err error) {
	caughtUp := true
	for _, src := range st.sources {
		caughtUp = caughtUp && src.caughtUp()
		src.labels.past = nil
	}
	switch {
	case caughtUp && !st.follow:
		return true, st.send(end)
	case caughtUp && !st.synced:
		st.synced = true
		st.age = st.streams.NewAge()
		err := st.send(synced)
		st.conflate.activate()
		return false, err
	case !st.out.empty():
		return false, st.send(noEvent)
	}
	return false, nil
}

// maxWait is how long the stream may wait for blocks.
func (st *stream) maxWait() time.Duration {
	most := st.heartbeat - time.Since(st.lastSent)
	if st.conflate.holding() {
		return max(st.conflate.wait(most), 0)
	}
	return max(st.age.Wait(most), 0)
}

// send completes the response and sends it.
func (st *stream) send(e event) error {
	at := st.resumeAt()
	st.out.cursor(at)
	st.out.event(e)
	if invariant.On {
		st.checkResponse()
	}
	if err := st.sender.Send(st.out.wire); err != nil {
		return err
	}
	m := st.streams.metrics
	m.samplesSent.Add(float64(st.out.samples))
	st.out.reset()
	st.cursor, st.lastSent = at, time.Now()
	return nil
}

// resumeAt is the cursor that covers all that was put into responses. While samples are
// held back, it is the one from before the first of them.
func (st *stream) resumeAt() string {
	if st.conflate.holding() {
		return st.cursor
	}
	return st.here()
}

// here is the cursor of where the stream is.
func (st *stream) here() string {
	c := cursor.Cursor{Since: st.since, Positions: make([]cursor.Position, 0, len(st.sources)+len(st.absent))}
	for _, src := range st.sources {
		if src.snapshotRef != 0 && len(st.sources) > 1 {
			return ""
		}
		c.Positions = append(c.Positions, cursor.Position{
			Log:          src.replica.ID,
			Sequence:     src.sequence,
			Entries:      src.entries,
			SnapshotRef:  src.snapshotRef,
			SnapshotTime: src.snapshotTime,
		})
	}
	c.Positions = st.withAbsent(c.Positions)
	return st.rights.Cursor(&c)
}

// gapEvent tells of a gap. Where it is in the log, and how long, would tell of series that
// the caller may not see.
func (st *stream) gapEvent(g *metricsv1.Gap) event {
	if st.rights.Restricted() {
		g = &metricsv1.Gap{Reason: g.GetReason()}
	}
	return gapEvent(g)
}

// close releases what the stream holds.
func (st *stream) close() {
	st.stopWatching()
	for _, src := range st.sources {
		src.close()
	}
	st.hold.Release()
}
