package rpc

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server/call"
)

// getMetrics is GetMetrics with responses that are bytes already.
func (s *Service) getMetrics(ctx context.Context, req *connect.Request[metricsv1.GetMetricsRequest], out *connect.ServerStream[call.Response]) error {
	if err := checkGetMetrics(req.Msg); err != nil {
		return err
	}
	return s.Backend.GetMetrics(ctx, callerOf(ctx), req.Msg, out)
}

// ReadLogs implements [metricsv1connect.MetricsServiceHandler].
func (s *Service) ReadLogs(ctx context.Context, req *connect.Request[metricsv1.ReadLogsRequest], out *connect.ServerStream[metricsv1.ReadLogsResponse]) error {
	if err := checkReadLogs(req.Msg); err != nil {
		return err
	}
	return s.Backend.ReadLogs(ctx, callerOf(ctx), req.Msg, out)
}

// GetLabelNames implements [metricsv1connect.MetricsServiceHandler].
func (s *Service) GetLabelNames(ctx context.Context, req *connect.Request[metricsv1.GetLabelNamesRequest]) (*connect.Response[metricsv1.GetLabelNamesResponse], error) {
	return answered(ctx, s, req.Msg, checkGetLabelNames, s.Backend.GetLabelNames)
}

// GetLabelValues implements [metricsv1connect.MetricsServiceHandler].
func (s *Service) GetLabelValues(ctx context.Context, req *connect.Request[metricsv1.GetLabelValuesRequest]) (*connect.Response[metricsv1.GetLabelValuesResponse], error) {
	return answered(ctx, s, req.Msg, checkGetLabelValues, s.Backend.GetLabelValues)
}

// GetMetadata implements [metricsv1connect.MetricsServiceHandler].
func (s *Service) GetMetadata(ctx context.Context, req *connect.Request[metricsv1.GetMetadataRequest]) (*connect.Response[metricsv1.GetMetadataResponse], error) {
	return answered(ctx, s, req.Msg, checkGetMetadata, s.Backend.GetMetadata)
}

// ListSegments implements [metricsv1connect.MetricsServiceHandler].
func (s *Service) ListSegments(ctx context.Context, req *connect.Request[metricsv1.ListSegmentsRequest]) (*connect.Response[metricsv1.ListSegmentsResponse], error) {
	return answered(ctx, s, req.Msg, checkListSegments, s.Backend.ListSegments)
}

// answered checks the request of a call that does not last, and returns the backend's
// answer to it.
func answered[Q proto.Message, R any](ctx context.Context, s *Service, request Q, check func(Q) error, answer func(context.Context, call.Caller, Q) (*R, error)) (*connect.Response[R], error) {
	if err := check(request); err != nil {
		return nil, err
	}
	res, err := answer(ctx, callerOf(ctx), request)
	if err != nil {
		return nil, s.Refusals.Of(err)
	}
	return connect.NewResponse(res), nil
}
