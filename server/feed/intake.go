package feed

import (
	"context"
	"errors"
	"fmt"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// intake takes what an upstream sends of its logs into the replicas.
type intake struct {
	feed      *Feed
	logs      map[segment.LogID]*intakeLog
	interrupt func()
	// partial is the log of which a piece is incomplete, nil if there is none. There is
	// one at a time, however many logs there are.
	partial *intakeLog
}

// intakeLog is one log of the upstream.
type intakeLog struct {
	sink
	release func()
	last    uint64 // block of the upstream
	// part of a piece that is incomplete, and its offset.
	part   []byte
	offset uint64
}

// Interrupt ends the intake: another connection feeds one of its logs.
func (in *intake) Interrupt() { in.interrupt() }

func (in *intake) release() {
	for _, l := range in.logs {
		l.release()
	}
}

func (in *intake) log(ctx context.Context, text string) (*intakeLog, error) {
	id, err := segment.ParseLogID(text)
	if err != nil {
		return nil, err
	}
	if l, ok := in.logs[id]; ok {
		return l, nil
	}
	r, release, err := in.feed.replicas.Lease(ctx, id, in)
	if err != nil {
		return nil, err
	}
	l := &intakeLog{sink: sink{r, in.feed, []any{"log_id", text}}, release: release}
	in.logs[id] = l
	return l, nil
}

// deliver gives what a response brings to its log.
func (in *intake) deliver(ctx context.Context, response *metricsv1.ReadLogsResponse) error {
	if response.GetLogId() == "" {
		if response.GetEnd() != nil {
			return errors.New("it ended the stream")
		}
		return nil
	}
	l, err := in.log(ctx, response.GetLogId())
	if err != nil {
		return err
	}
	defer in.feed.replicas.Updates.Wake()
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
	l.SetTail(l.last)
	return nil
}

// lags says whether the upstream lacks blocks that this server has.
func (in *intake) lags() bool {
	for _, l := range in.logs {
		if l.Log.Last() > l.last {
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
