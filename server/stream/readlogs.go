package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/replica"
)

// logDataSize bounds the data of one response.
const logDataSize = 256 << 10

// ReadLogs serves a call of ReadLogs.
func (s *Streams) ReadLogs(ctx context.Context, from call.Caller, req *metricsv1.ReadLogsRequest, out *connect.ServerStream[metricsv1.ReadLogsResponse]) error {
	c, err := s.AdmitReader(ctx, from)
	if err != nil {
		return err
	}
	defer c.Leave()
	r := s.newLogReading(c, req, out)
	c.Started("logs")
	if err = r.run(c.Context(), req); err == nil {
		err = r.send(&metricsv1.ReadLogsResponse{Event: &metricsv1.ReadLogsResponse_End{End: &metricsv1.End{}}})
	}
	return c.Ended("", err)
}

// logReading is a call of ReadLogs. Each log is read by a goroutine of its own.
type logReading struct {
	call      *call.Call
	streams   *Streams
	positions map[segment.LogID]*metricsv1.LogPosition
	only      map[segment.LogID]bool // the logs to send; empty: all
	follow    bool
	heartbeat time.Duration

	// behind is how many logs have not come to where they were when their reading
	// started.
	behind atomic.Int32
	age    call.Age // set when none is behind

	mu   sync.Mutex // for sending
	out  *connect.ServerStream[metricsv1.ReadLogsResponse]
	sent time.Time
}

func (s *Streams) newLogReading(c *call.Call, req *metricsv1.ReadLogsRequest, out *connect.ServerStream[metricsv1.ReadLogsResponse]) *logReading {
	r := &logReading{
		call: c, streams: s, out: out, follow: req.GetFollow(), heartbeat: call.HeartbeatInterval(req.GetHeartbeatInterval()),
		positions: make(map[segment.LogID]*metricsv1.LogPosition, len(req.GetPositions())), only: map[segment.LogID]bool{},
	}
	return r
}

// run sends all logs: those that there are and, while following, new ones, until ctx
// ends.
func (r *logReading) run(ctx context.Context, req *metricsv1.ReadLogsRequest) error {
	for _, p := range req.GetPositions() {
		id, err := segment.ParseLogID(p.GetLogId())
		if err != nil {
			return connect.NewError(connect.CodeInvalidArgument, err)
		}
		r.positions[id] = p
	}
	for _, text := range req.GetLogIds() {
		id, err := segment.ParseLogID(text)
		if err != nil {
			return connect.NewError(connect.CodeInvalidArgument, err)
		}
		r.only[id] = true
	}
	var group *errgroup.Group
	group, ctx = errgroup.WithContext(ctx)
	started := map[segment.LogID]bool{}
	startNew := func() {
		for _, from := range r.streams.Replicas.Serving() {
			if !started[from.ID] && (len(r.only) == 0 || r.only[from.ID]) {
				started[from.ID] = true
				r.behind.Add(1)
				group.Go(func() error { return r.log(ctx, from) })
			}
		}
	}
	group.Go(func() error {
		for {
			updates := r.streams.Replicas.Updates.Next()
			startNew()
			if !r.follow {
				return nil
			}
			if err := r.wait(ctx, updates); err != nil {
				return err
			}
		}
	})
	return group.Wait()
}

// wait waits for updates, a while at most, and sends heartbeats. A stream that has
// reached its age ends: each log stops after the piece that is being sent, and the
// client resumes at another replica, at the end of its files.
func (r *logReading) wait(ctx context.Context, updates <-chan struct{}) error {
	if r.age == (call.Age{}) && r.behind.Load() == 0 {
		r.age = r.streams.NewAge()
	}
	timer := time.NewTimer(r.age.Wait(r.heartbeat / 4))
	defer timer.Stop()
	select {
	case <-updates:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if r.age.Reached() {
		return refusal.ErrAged
	}
	return r.beat()
}

// log sends one log, from the client's position on.
func (r *logReading) log(ctx context.Context, from *replica.Replica) error {
	until := from.Log.Last()
	if err := r.sendOf(from, &metricsv1.ReadLogsResponse{}); err != nil {
		return err
	}
	if !r.follow && r.positions[from.ID].GetSequence() > until {
		return nil
	}
	after, err := r.awaitPosition(ctx, from)
	if err != nil {
		return err
	}
	hold := r.call.Hold()
	defer hold.Release()
	arrived := sync.OnceFunc(func() { r.behind.Add(-1) })
	return logship.Send(ctx, from.Log, after, logSink{r, from}, logship.Options{
		More: func(after uint64) bool {
			if after >= until {
				arrived()
			}
			return r.follow || after < until
		},
		Local:   r.positions[from.ID] == nil,
		Reserve: hold.Resize,
	})
}

// awaitPosition waits until the replica has come to the client's position, and returns
// it. The client's blocks and the replica's must be the same there.
func (r *logReading) awaitPosition(ctx context.Context, from *replica.Replica) (uint64, error) {
	position := r.positions[from.ID]
	after := position.GetSequence()
	for {
		updates := r.streams.Replicas.Updates.Next()
		if from.IsBroken() {
			return 0, seglog.ErrClosed
		}
		if from.Log.Last() >= after {
			break
		}
		select {
		case <-updates:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	err := logship.Compare(ctx, from.Log, after, position.GetChecksum())
	if diverged := new(logship.DivergedError); errors.As(err, &diverged) {
		err = connect.NewError(connect.CodeFailedPrecondition, fmt.Errorf("the two have diverged: %w", err))
	}
	return after, err
}

// logSink sends one log to the client.
type logSink struct {
	reading *logReading
	from    *replica.Replica
}

// StartSegment implements [logship.Sink].
func (s logSink) StartSegment(name string, firstSequence uint64) error {
	start := &metricsv1.SegmentStart{Name: name, FirstSequence: firstSequence}
	return s.reading.sendOf(s.from, &metricsv1.ReadLogsResponse{Event: &metricsv1.ReadLogsResponse_Segment{Segment: start}})
}

// Gap implements [logship.Sink].
func (s logSink) Gap(gap *seglog.GapError) error {
	return s.reading.sendOf(s.from, &metricsv1.ReadLogsResponse{Event: &metricsv1.ReadLogsResponse_Gap{Gap: &metricsv1.Gap{
		LogId: s.from.ID.String(), AfterSequence: gap.After, NextSequence: gap.Next, Reason: gap.Error(),
	}}})
}

// Append implements [logship.Sink]. Parts of a large frame follow one another: the
// client joins those of one log at a time.
func (s logSink) Append(offset uint64, data []byte) error {
	s.reading.mu.Lock()
	defer s.reading.mu.Unlock()
	for len(data) > 0 {
		part := data[:min(len(data), logDataSize)]
		data = data[len(part):]
		err := s.reading.sendNext(s.from, &metricsv1.ReadLogsResponse{Event: &metricsv1.ReadLogsResponse_Data{Data: &metricsv1.SegmentData{
			Offset: offset, Data: part, Partial: len(data) > 0,
		}}})
		if err != nil {
			return err
		}
		offset += uint64(len(part))
	}
	return nil
}

// sendOf sends what is about one log.
func (r *logReading) sendOf(from *replica.Replica, response *metricsv1.ReadLogsResponse) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sendNext(from, response)
}

// sendNext is sendOf for a caller that holds mu.
func (r *logReading) sendNext(from *replica.Replica, response *metricsv1.ReadLogsResponse) error {
	response.LogId, response.LastSequence = from.ID.String(), from.Log.Last()
	return r.send(response)
}

// send sends. The caller holds mu.
func (r *logReading) send(response *metricsv1.ReadLogsResponse) error {
	r.sent = time.Now()
	return r.call.Write(len(response.GetData().GetData()), func() error { return r.out.Send(response) })
}

// beat sends a heartbeat if nothing else was sent for a while.
func (r *logReading) beat() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.sent) < r.heartbeat*3/4 {
		return nil
	}
	return r.send(&metricsv1.ReadLogsResponse{Event: &metricsv1.ReadLogsResponse_Heartbeat{Heartbeat: &metricsv1.Heartbeat{}}})
}
