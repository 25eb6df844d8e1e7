package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/router/groups"
)

// ReadLogs serves a call: the logs of all groups, each from a server of its own. Who reads
// knows its positions, so where a server is lost the stream ends, to resume at them.
func (l lookups) ReadLogs(ctx context.Context, from call.Caller, req *metricsv1.ReadLogsRequest, out *connect.ServerStream[metricsv1.ReadLogsResponse]) error {
	c, err := l.router.calls.AdmitReader(ctx, from)
	if err != nil {
		return err
	}
	defer c.Leave()
	c.Started("logs")
	r := &logReading{
		router: l.router, call: c, request: req, out: out, heartbeat: call.HeartbeatInterval(req.GetHeartbeatInterval()), sent: time.Now(),
	}
	return c.Ended("", r.run(c.Context()))
}

// logReading is a call of ReadLogs. Each group is read by a goroutine of its own.
type logReading struct {
	router    *Router
	call      *call.Call
	request   *metricsv1.ReadLogsRequest
	heartbeat time.Duration

	mu   sync.Mutex // for sending
	out  *connect.ServerStream[metricsv1.ReadLogsResponse]
	sent time.Time
}

// errGroupsChanged is why a stream ends that has to be opened anew.
var errGroupsChanged = errors.New("the groups have changed")

func (r *logReading) run(ctx context.Context) error {
	list, _ := r.router.groups.Now()
	reading, of := errgroup.WithContext(ctx)
	watching, stop := context.WithCancel(of)
	defer stop()
	var open sync.WaitGroup
	for _, g := range list {
		request := r.requestTo(g)
		if request == nil {
			continue
		}
		open.Add(1)
		reading.Go(func() error {
			defer open.Done()
			return r.group(of, g, request)
		})
	}
	reading.Go(func() error { return r.watch(watching, list) })
	reading.Go(func() error {
		open.Wait()
		stop()
		return nil
	})
	if err := reading.Wait(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.send(&metricsv1.ReadLogsResponse{Event: &metricsv1.ReadLogsResponse_End{End: &metricsv1.End{}}})
}

// watch sends heartbeats, and ends the stream when there are other groups, until ctx ends.
func (r *logReading) watch(ctx context.Context, list []*groups.Group) error {
	ticker := time.NewTicker(max(r.heartbeat/4, time.Millisecond))
	defer ticker.Stop()
	for {
		now, changed := r.router.groups.Now()
		if r.request.GetFollow() && !slices.Equal(now, list) {
			return refusal.Unavailable(errGroupsChanged, "")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-ticker.C:
			if err := r.beat(); err != nil {
				return err
			}
		}
	}
}

// requestTo returns what is asked of a group, nil for nothing: what is about its own logs,
// and about those that no group is known to have.
func (r *logReading) requestTo(g *groups.Group) *metricsv1.ReadLogsRequest {
	request := &metricsv1.ReadLogsRequest{Follow: r.request.GetFollow(), HeartbeatInterval: r.request.GetHeartbeatInterval()}
	for _, p := range r.request.GetPositions() {
		if r.concerns(g, p.GetLogId()) {
			request.Positions = append(request.Positions, p)
		}
	}
	for _, id := range r.request.GetLogIds() {
		if r.concerns(g, id) {
			request.LogIds = append(request.LogIds, id)
		}
	}
	if len(r.request.GetLogIds()) > 0 && len(request.LogIds) == 0 {
		return nil
	}
	return request
}

func (r *logReading) concerns(g *groups.Group, text string) bool {
	id, err := segment.ParseLogID(text)
	if err != nil {
		return false // It was checked.
	}
	if ids, known := g.Logs(); !known || ids[id] {
		return true
	}
	list, _ := r.router.groups.Now()
	return !slices.ContainsFunc(list, func(other *groups.Group) bool {
		ids, _ := other.Logs()
		return ids[id]
	})
}

// group passes on what one group has.
func (r *logReading) group(ctx context.Context, g *groups.Group, request *metricsv1.ReadLogsRequest) error {
	s, err := r.open(ctx, g, request)
	if err != nil {
		return err
	}
	defer s.Close()
	var wire []byte
	for {
		if wire, err = s.Receive(wire); err != nil {
			return lost(g, err)
		}
		m := new(metricsv1.ReadLogsResponse)
		if err := proto.Unmarshal(wire, m); err != nil {
			return fmt.Errorf("group %s: %w", g.Name(), err)
		}
		switch {
		case m.GetEnd() != nil:
			return nil
		case m.GetHeartbeat() != nil:
			continue
		}
		if err := r.passOn(g, s, m); err != nil {
			return err
		}
	}
}

// passOn sends what is about one log. The parts of a large frame follow one another: the
// client joins those of one log at a time.
func (r *logReading) passOn(g *groups.Group, s *groups.Stream, m *metricsv1.ReadLogsResponse) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		if err := r.send(m); err != nil || !m.GetData().GetPartial() {
			return err
		}
		wire, err := s.Receive(nil)
		if err != nil {
			return lost(g, err)
		}
		m = new(metricsv1.ReadLogsResponse)
		if err := proto.Unmarshal(wire, m); err != nil {
			return fmt.Errorf("group %s: %w", g.Name(), err)
		}
	}
}

// open opens the stream of a group. One that is away is waited for, or not, as the caller
// says.
func (r *logReading) open(ctx context.Context, g *groups.Group, request *metricsv1.ReadLogsRequest) (*groups.Stream, error) {
	until := time.Now().Add(r.router.config.Timeout)
	refuse := r.request.GetWhenAway() == metricsv1.WhenAway_WHEN_AWAY_REFUSE
	for {
		err := errAway
		if !g.Away() {
			var s *groups.Stream
			if s, err = g.Open(ctx, metricsv1connect.MetricsServiceReadLogsProcedure, request); err == nil || !groups.Passes(err) {
				return s, err
			}
		}
		if refuse || time.Until(until) < betweenAttempts {
			return nil, &refusal.AwayError{Groups: []string{g.Name()}, Cause: err}
		}
		if err := backoff.Sleep(ctx, betweenAttempts); err != nil {
			return nil, err
		}
	}
}

// lost is why the stream ends where that of a group did: another server may go on.
func lost(g *groups.Group, err error) error {
	switch {
	case errors.Is(err, io.EOF):
		err = errors.New("the stream was cut off")
	case !groups.Passes(err):
		return err
	}
	return refusal.Unavailable(fmt.Errorf("group %s: %w", g.Name(), err), "")
}

// send sends. The caller holds mu.
func (r *logReading) send(m *metricsv1.ReadLogsResponse) error {
	r.sent = time.Now()
	return r.call.Write(len(m.GetData().GetData()), func() error { return r.out.Send(m) })
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
