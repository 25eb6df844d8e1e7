package rpc

import (
	"context"
	"slices"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/common/version"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
)

// ListSegments implements [metricsv1connect.MetricsServiceHandler].
func (s *Service) ListSegments(ctx context.Context, req *connect.Request[metricsv1.ListSegmentsRequest]) (*connect.Response[metricsv1.ListSegmentsResponse], error) {
	if err := checkListSegments(req.Msg); err != nil {
		return nil, err
	}
	end, err := s.turn(ctx)
	if err != nil {
		return nil, s.Refusals.Of(err)
	}
	defer end()
	res := &metricsv1.ListSegmentsResponse{}
	room, size := answerRoom(ctx), 0
	for _, r := range slices.Concat(s.Replicas.All(), s.Replicas.Archived()) {
		files := r.Log.Segments()
		if err := room(int64(len(res.Segments)+len(files))*entryCost + int64(size)*answerCost); err != nil {
			return nil, s.Refusals.Of(err)
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
				Archived:      f.Archived,
				Remote:        f.Remote,
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

// GetStatus implements [metricsv1connect.MetricsServiceHandler]. It also answers before
// the server is ready.
func (s *Service) GetStatus(ctx context.Context, req *connect.Request[metricsv1.GetStatusRequest]) (*connect.Response[metricsv1.GetStatusResponse], error) {
	if err := checkGetStatus(req.Msg); err != nil {
		return nil, err
	}
	res := &metricsv1.GetStatusResponse{
		Instance:  s.Instance,
		Version:   version.Version,
		StartTime: timestamppb.New(s.Started),
		Uptime:    durationpb.New(time.Since(s.Started)),
		Streams:   uint32(s.Streams.Count()),
		Upstream:  s.Upstream(),
		Bucket:    s.Bucket(),
	}
	for _, l := range s.Listeners() {
		res.Listeners = append(res.Listeners, &metricsv1.Listener{
			Name: l.Name, Address: l.Addr.String(), Exposed: l.Exposed(),
			Tls: l.TLS, ClientCertificates: l.ClientCertificates, Passwords: l.Passwords, Policies: l.Policies,
		})
	}
	if err := s.Ready(); err != nil {
		res.NotReady = err.Error()
	} else {
		res.Ready = true
	}
	var present cursor.Cursor
	for _, r := range s.Replicas.All() {
		status := &metricsv1.LogStatus{
			LogId:            r.ID.String(),
			FirstSequence:    r.Log.First(),
			LastSequence:     r.Log.Last(),
			Connected:        r.Connected(),
			LagBlocks:        r.Lag(),
			Series:           uint64(r.Head.Len()),
			SizeBytes:        r.Log.LocalSize(),
			DurableSequence:  r.Durable(),
			ArchivedSequence: r.Archived(),
			Owners:           r.Owners(),
		}
		if received := r.LastReceived(); !received.IsZero() {
			status.ReceiveTime = timestamppb.New(received)
		}
		res.Logs = append(res.Logs, status)
		if r.Serving() {
			res.LiveSeries += r.CountLive(s.Streams.LiveSince())
			present.Positions = append(present.Positions, cursor.Position{Log: r.ID, Sequence: status.GetLastSequence()})
		}
	}
	if len(present.Positions) > 0 {
		res.Cursor = callerOf(ctx).Rights.Cursor(&present)
	}
	return connect.NewResponse(res), nil
}
