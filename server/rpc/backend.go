package rpc

import (
	"context"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/call"
)

// Backend answers the calls: their requests were checked by the rules of the API, and
// their callers may make them. Errors of the calls that do not last may be refusals.
type Backend interface {
	GetMetrics(context.Context, call.Caller, *metricsv1.GetMetricsRequest, *connect.ServerStream[call.Response]) error
	ReadLogs(context.Context, call.Caller, *metricsv1.ReadLogsRequest, *connect.ServerStream[metricsv1.ReadLogsResponse]) error
	GetLabelNames(context.Context, call.Caller, *metricsv1.GetLabelNamesRequest) (*metricsv1.GetLabelNamesResponse, error)
	GetLabelValues(context.Context, call.Caller, *metricsv1.GetLabelValuesRequest) (*metricsv1.GetLabelValuesResponse, error)
	GetMetadata(context.Context, call.Caller, *metricsv1.GetMetadataRequest) (*metricsv1.GetMetadataResponse, error)
	ListSegments(context.Context, call.Caller, *metricsv1.ListSegmentsRequest) (*metricsv1.ListSegmentsResponse, error)
	// GetStatus adds to the state of the process what is known of its logs.
	GetStatus(context.Context, call.Caller, *metricsv1.GetStatusRequest, *metricsv1.GetStatusResponse) error
	Query(context.Context, call.Caller, *queryv1.QueryRequest, *connect.ServerStream[call.Response]) error
	EvaluateRules(context.Context, call.Caller, *queryv1.EvaluateRulesRequest, *connect.ServerStream[call.Response]) error
	ReadSeries(context.Context, call.Caller, *queryv1.ReadSeriesRequest, *connect.ServerStream[call.Response]) error
	FollowTime(context.Context, call.Caller, *queryv1.FollowTimeRequest, *connect.ServerStream[call.Response]) error
	// Families calls yield with each metric family that the caller sees, or those of one
	// name; of one that several logs have, the newest comes last. collect returns yield;
	// what it collects takes room.
	Families(ctx context.Context, from call.Caller, name string, collect func(room func(bytes int64) error) (yield func(*segment.Metadata) error)) error
}
