package server

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/common/version"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/stream"
)

// service implements the calls of the MetricsService that answer once.
type service struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
	*Server
}

// ReadLogs implements [metricsv1connect.MetricsServiceHandler].
func (s service) ReadLogs(ctx context.Context, req *connect.Request[metricsv1.ReadLogsRequest], out *connect.ServerStream[metricsv1.ReadLogsResponse]) error {
	if err := checkReadLogs(req.Msg); err != nil {
		return err
	}
	return s.streams.ReadLogs(ctx, callerOf(ctx), req.Msg, out)
}

// getMetrics is GetMetrics, whose responses are bytes already.
func (s service) getMetrics(ctx context.Context, req *connect.Request[metricsv1.GetMetricsRequest], out *connect.ServerStream[stream.Response]) error {
	if err := checkGetMetrics(req.Msg); err != nil {
		return err
	}
	return s.streams.GetMetrics(ctx, callerOf(ctx), req.Msg, out)
}

// GetLabelNames implements [metricsv1connect.MetricsServiceHandler].
func (s service) GetLabelNames(ctx context.Context, req *connect.Request[metricsv1.GetLabelNamesRequest]) (*connect.Response[metricsv1.GetLabelNamesResponse], error) {
	if err := checkGetLabelNames(req.Msg); err != nil {
		return nil, err
	}
	names := newSmallest[struct{}](req.Msg.GetLimit(), answerRoom(ctx))
	err := s.eachLive(ctx, req.Msg.GetSelectors(), func(ls segment.Labels) error {
		for _, l := range ls {
			if err := names.add(l.Name, struct{}{}, stringSize(l.Name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, s.refusals.Of(err)
	}
	sorted, _, truncated := names.sorted()
	return connect.NewResponse(&metricsv1.GetLabelNamesResponse{Names: sorted, Truncated: truncated}), nil
}

// GetLabelValues implements [metricsv1connect.MetricsServiceHandler].
func (s service) GetLabelValues(ctx context.Context, req *connect.Request[metricsv1.GetLabelValuesRequest]) (*connect.Response[metricsv1.GetLabelValuesResponse], error) {
	if err := checkGetLabelValues(req.Msg); err != nil {
		return nil, err
	}
	values := newSmallest[struct{}](req.Msg.GetLimit(), answerRoom(ctx))
	err := s.eachLive(ctx, req.Msg.GetSelectors(), func(ls segment.Labels) error {
		v := selection.ValueOf(ls, req.Msg.GetName())
		if v == "" {
			return nil
		}
		return values.add(v, struct{}{}, stringSize(v))
	})
	if err != nil {
		return nil, s.refusals.Of(err)
	}
	sorted, _, truncated := values.sorted()
	return connect.NewResponse(&metricsv1.GetLabelValuesResponse{Values: sorted, Truncated: truncated}), nil
}

// eachLive calls yield with the labels of each live series that is selected, when
// it is the call's turn. Who has values to be matched does not keep the turn from
// others meanwhile.
func (s service) eachLive(ctx context.Context, selectors []string, yield func(segment.Labels) error) error {
	e := s.evaluations.New(ctx, callerOf(ctx).Peer)
	defer e.End()
	selected, err := e.Parse(selectors)
	if err != nil {
		return err
	}
	if err := s.streams.Serving(); err != nil {
		return refusal.Unavailable(err, "")
	}
	if !selected.Scans {
		end, err := s.turn(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	for _, r := range s.replicas.Serving() {
		found, err := r.Snapshot(e, &selected, s.streams.LiveSince())
		if err != nil {
			return err
		}
		if err := s.eachOf(ctx, e, found, selected.Scans, yield); err != nil {
			return err
		}
	}
	return nil
}

// seenEvery is after how many series it is seen whether the caller is still there.
const seenEvery = 1024

// eachOf calls yield for the series of a snapshot, and waits for the turn if that is
// still to be done. What the snapshot pins meanwhile counts as its evaluation's.
func (s service) eachOf(ctx context.Context, e *selection.Evaluation, found *replica.Snapshot, wait bool, yield func(segment.Labels) error) error {
	defer found.View.Release()
	if wait {
		if err := e.Grow(found.View.Pinned()); err != nil {
			return err
		}
		end, err := s.turn(ctx)
		if err != nil {
			return err
		}
		defer end()
	}
	var ls segment.Labels
	n := 0
	for ref := range found.Series() {
		if n++; n%seenEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ls, _ = found.View.Labels(ref, ls[:0])
		if err := yield(ls); err != nil {
			return err
		}
	}
	return nil
}

// turn waits until a call may look through what this server has. The end of the
// turn has to be told.
func (s *Server) turn(ctx context.Context) (end func(), err error) {
	turn := s.lookups.Hold(callerOf(ctx).Peer)
	if err := turn.Wait(ctx, 1); err != nil {
		return nil, err
	}
	return turn.Release, nil
}

// answerRoom takes room for the answer to a call, in place of its request, which has
// been read.
func answerRoom(ctx context.Context) func(int64) error {
	room := callerOf(ctx).Room
	return func(bytes int64) error { return room.Resize(callCost + bytes) }
}

// stringSize is what a string takes as a field of a message.
func stringSize(s string) int { return protowire.SizeTag(1) + protowire.SizeBytes(len(s)) }

// GetMetadata implements [metricsv1connect.MetricsServiceHandler].
func (s service) GetMetadata(ctx context.Context, req *connect.Request[metricsv1.GetMetadataRequest]) (*connect.Response[metricsv1.GetMetadataResponse], error) {
	if err := checkGetMetadata(req.Msg); err != nil {
		return nil, err
	}
	if err := s.streams.Serving(); err != nil {
		return nil, refusal.Unavailable(err, "")
	}
	end, err := s.turn(ctx)
	if err != nil {
		return nil, s.refusals.Of(err)
	}
	defer end()
	families := newSmallest[segment.Metadata](req.Msg.GetLimit(), answerRoom(ctx))
	for _, r := range s.replicas.Serving() {
		for _, m := range r.Head.Metadata() {
			if want := req.Msg.GetMetricFamilyName(); want != "" && want != m.Family {
				continue
			}
			if err := families.add(m.Family, m, metadataSize(m)); err != nil {
				return nil, s.refusals.Of(err)
			}
		}
	}
	_, sorted, truncated := families.sorted()
	res := &metricsv1.GetMetadataResponse{Truncated: truncated}
	for _, m := range sorted {
		res.Metadata = append(res.Metadata, metadataOf(m))
	}
	return connect.NewResponse(res), nil
}

func metadataOf(m segment.Metadata) *metricsv1.MetricMetadata {
	return &metricsv1.MetricMetadata{
		Type: metricsv1.MetricType(m.Type), MetricFamilyName: m.Family, Help: m.Help, Unit: m.Unit,
	}
}

// metadataSize is what a family takes as a field of a message, at most.
func metadataSize(m segment.Metadata) int {
	const framing = 16 // tags, lengths and the type
	return framing + stringSize(m.Family) + stringSize(m.Help) + stringSize(m.Unit)
}

// ListSegments implements [metricsv1connect.MetricsServiceHandler].
func (s service) ListSegments(ctx context.Context, _ *connect.Request[metricsv1.ListSegmentsRequest]) (*connect.Response[metricsv1.ListSegmentsResponse], error) {
	end, err := s.turn(ctx)
	if err != nil {
		return nil, s.refusals.Of(err)
	}
	defer end()
	res := &metricsv1.ListSegmentsResponse{}
	room, size := answerRoom(ctx), 0
	for _, r := range s.replicas.All() {
		files := r.Log.Segments()
		if err := room(int64(len(res.Segments)+len(files))*entryCost + int64(size)*answerCost); err != nil {
			return nil, s.refusals.Of(err)
		}
		for _, f := range files {
			segment := &metricsv1.Segment{
				LogId:         r.ID.String(),
				Name:          f.Name,
				FirstSequence: f.FirstSequence,
				LastSequence:  f.LastSequence,
				CreateTime:    timestamppb.New(f.CreateTime),
				SizeBytes:     f.Size,
				Sealed:        f.Sealed,
			}
			if size += protowire.SizeTag(1) + protowire.SizeBytes(proto.Size(segment)); size > answerSize {
				res.Truncated = true
				return connect.NewResponse(res), nil
			}
			res.Segments = append(res.Segments, segment)
		}
	}
	return connect.NewResponse(res), nil
}

// GetStatus implements [metricsv1connect.MetricsServiceHandler]. It answers
// before the server is ready, too.
func (s service) GetStatus(context.Context, *connect.Request[metricsv1.GetStatusRequest]) (*connect.Response[metricsv1.GetStatusResponse], error) {
	res := &metricsv1.GetStatusResponse{
		Instance:  s.config.Instance,
		Version:   version.Version,
		StartTime: timestamppb.New(s.started),
		Uptime:    durationpb.New(time.Since(s.started)),
		Ready:     s.Ready() == nil,
		Streams:   uint32(s.streams.Count()),
	}
	if s.upstream != nil {
		res.Upstream = s.upstream.Address()
	}
	var present cursor.Cursor
	for _, r := range s.replicas.All() {
		status := &metricsv1.LogStatus{
			LogId:         r.ID.String(),
			FirstSequence: r.Log.First(),
			LastSequence:  r.Log.Last(),
			Connected:     r.Connected(),
			LagBlocks:     r.Lag(),
			Series:        uint64(r.Head.Len()),
		}
		if received := r.LastReceived(); !received.IsZero() {
			status.ReceiveTime = timestamppb.New(received)
		}
		for _, f := range r.Log.Segments() {
			status.SizeBytes += f.Size
		}
		res.Logs = append(res.Logs, status)
		if r.Serving() {
			res.LiveSeries += r.CountLive(s.streams.LiveSince())
			present.Positions = append(present.Positions, cursor.Position{Log: r.ID, Sequence: status.GetLastSequence()})
		}
	}
	if len(present.Positions) > 0 {
		res.Cursor = present.String()
	}
	return connect.NewResponse(res), nil
}
