package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
)

// intake takes what an upstream sends of its logs into the replicas.
type intake struct {
	feed      *Feed
	logs      map[segment.LogID]*intakeLog // nil: refused
	interrupt func()
	// partial is the log of which a piece is incomplete, nil if there is none. There is
	// one at a time, however many logs there are.
	partial *intakeLog
	// from is how the logs are leased.
	from replica.Source
}

// intakeLog is one log of the upstream.
type intakeLog struct {
	sink
	last uint64 // block of the upstream
	// part of a piece that is incomplete, and its offset.
	part   []byte
	offset uint64
}

// Interrupt ends the intake: another connection feeds one of its logs.
func (in *intake) Interrupt() { in.interrupt() }

func (in *intake) release() {
	for id := range in.logs {
		in.leave(id)
	}
}

// leave gives up a log.
func (in *intake) leave(id segment.LogID) {
	if l := in.logs[id]; l != nil {
		l.Release()
	}
	in.logs[id] = nil
}

// errInvents is for an upstream that names more logs in one call than a server has: it
// ends the call when it retires one. What it begins takes files and memory here.
var errInvents = fmt.Errorf("it names more logs than the %d that a server has", cursor.MaxLogs)

// log returns a log of the upstream, nil if it was refused here.
func (in *intake) log(ctx context.Context, id segment.LogID) (*intakeLog, error) {
	if l, ok := in.logs[id]; ok {
		return l, nil
	}
	if len(in.logs) >= cursor.MaxLogs {
		return nil, errInvents
	}
	from := in.from
	from.Feeder = in
	r, err := in.feed.replicas.Lease(ctx, id, from)
	if err != nil {
		return nil, err
	}
	l := &intakeLog{sink: sink{r, in.feed, []any{"log_id", id.String()}}}
	in.logs[id] = l
	return l, nil
}

// deliver gives what a response brings to its log. One that is refused is left out, for
// as long as this connection lasts, and the others go on.
func (in *intake) deliver(ctx context.Context, response *metricsv1.ReadLogsResponse) error {
	if response.GetLogId() == "" {
		if response.GetEnd() != nil {
			return errors.New("it ended the stream")
		}
		return nil
	}
	id, err := segment.ParseLogID(response.GetLogId())
	if err != nil {
		return err
	}
	l, err := in.log(ctx, id)
	if err == nil && l != nil {
		err = in.take(l, response)
	}
	var refused *replica.RefusedError
	if errors.As(err, &refused) {
		in.feed.log.Log(slog.LevelError, "a log of the upstream is refused", "log_id", id.String(), "err", in.feed.counted(err))
		in.leave(id)
		return nil
	}
	return err
}

// take gives what a response brings to a log.
func (in *intake) take(l *intakeLog, response *metricsv1.ReadLogsResponse) error {
	defer in.feed.replicas.Updates.Wake()
	var err error
	switch event := response.GetEvent().(type) {
	case *metricsv1.ReadLogsResponse_Segment:
		err = l.StartSegment(event.Segment.GetName(), event.Segment.GetFirstSequence())
	case *metricsv1.ReadLogsResponse_Data:
		err = in.data(l, event.Data)
	case *metricsv1.ReadLogsResponse_Gap:
		err = l.Gap(&seglog.GapError{After: event.Gap.GetAfterSequence(), Next: event.Gap.GetNextSequence()})
	}
	if err != nil {
		return err
	}
	l.last = response.GetLastSequence()
	// A peer says nothing of the forwarder's log, but when what it has of one is here, that
	// can be served.
	if !in.from.Completes || !l.Serving() {
		l.SetTail(l.last)
	}
	return nil
}

// lags says whether the upstream lacks blocks that this server has.
func (in *intake) lags() bool {
	for _, l := range in.logs {
		if l != nil && l.Log.Last() > l.last {
			return true
		}
	}
	return false
}

// data joins the parts of a piece, and appends it when it is complete.
func (in *intake) data(l *intakeLog, d *metricsv1.SegmentData) error {
	if in.partial != nil && in.partial != l {
		return errors.New("a piece of one log came within that of another")
	}
	if len(l.part) == 0 {
		l.offset = d.GetOffset()
		if !d.GetPartial() {
			return l.Append(l.offset, d.GetData())
		}
	}
	if at := l.offset + uint64(len(l.part)); at != d.GetOffset() {
		return fmt.Errorf("a part for offset %d came, %d was to come", d.GetOffset(), at)
	}
	if len(l.part)+len(d.GetData()) > maxPiece {
		return fmt.Errorf("a piece of more than %d bytes", maxPiece)
	}
	in.partial, l.part = l, append(l.part, d.GetData()...)
	if d.GetPartial() {
		return nil
	}
	part := l.part
	in.partial, l.part = nil, nil
	return l.Append(l.offset, part)
}

// maxPiece is the largest frame, with a header before it.
const maxPiece = segment.HeaderSize + segment.FrameHeaderSize + segment.MaxPayload
