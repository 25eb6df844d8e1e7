package server

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protowire"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/server/stream"
)

// service implements the MetricsService.
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

// getMetrics is GetMetrics with responses that are bytes already.
func (s service) getMetrics(ctx context.Context, req *connect.Request[metricsv1.GetMetricsRequest], out *connect.ServerStream[stream.Response]) error {
	if err := checkGetMetrics(req.Msg); err != nil {
		return err
	}
	return s.streams.GetMetrics(ctx, callerOf(ctx), req.Msg, out)
}

// turn waits until a call may read what this server has. The turn has to be ended.
func (s *Server) turn(ctx context.Context) (end func(), err error) {
	turn := s.lookups.Hold(callerOf(ctx).Peer)
	if err := turn.Wait(ctx, 1); err != nil {
		return nil, err
	}
	return turn.Release, nil
}

// answerRoom takes room for the answer of a call, instead of that for its request,
// which has been read.
func answerRoom(ctx context.Context) func(int64) error {
	room := callerOf(ctx).Room
	return func(bytes int64) error { return room.Resize(callCost + bytes) }
}

// stringSize is the size of a string as a field of a message.
func stringSize(s string) int { return protowire.SizeTag(1) + protowire.SizeBytes(len(s)) }
