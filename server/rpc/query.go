package rpc

import (
	"context"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/server/call"
)

// queries are the calls of the QueryService.
type queries struct {
	queryv1connect.UnimplementedQueryServiceHandler
	service *Service
}

// handleQueries serves the QueryService. Its calls bypass the generated handler, which
// knows only messages.
func (s *Service) handleQueries(mux *http.ServeMux, options connect.HandlerOption) {
	q := queries{service: s}
	mux.Handle(queryv1connect.NewQueryServiceHandler(q, options))
	handleStream(mux, queryv1connect.QueryServiceQueryProcedure, "Query", q.query, options)
	handleStream(mux, queryv1connect.QueryServiceEvaluateRulesProcedure, "EvaluateRules", q.evaluateRules, options)
	handleStream(mux, queryv1connect.QueryServiceReadSeriesProcedure, "ReadSeries", q.readSeries, options)
	handleStream(mux, queryv1connect.QueryServiceFollowTimeProcedure, "FollowTime", q.followTime, options)
}

// handleStream serves a call of the QueryService whose responses are bytes already.
func handleStream[R any](mux *http.ServeMux, procedure, method string, serve func(context.Context, *connect.Request[R], *connect.ServerStream[call.Response]) error, options connect.HandlerOption) {
	mux.Handle(procedure, connect.NewServerStreamHandler(procedure, serve,
		connect.WithSchema(queryv1.File_promgrpc_query_v1_query_service_proto.Services().ByName("QueryService").Methods().ByName(protoreflect.Name(method))),
		connect.WithIdempotency(connect.IdempotencyNoSideEffects),
		options,
	))
}

// query is Query with responses that are bytes already.
func (q queries) query(ctx context.Context, req *connect.Request[queryv1.QueryRequest], out *connect.ServerStream[call.Response]) error {
	if err := checkQuery(req.Msg); err != nil {
		return err
	}
	return q.service.Backend.Query(ctx, callerOf(ctx), req.Msg, out)
}

// evaluateRules is EvaluateRules with responses that are bytes already.
func (q queries) evaluateRules(ctx context.Context, req *connect.Request[queryv1.EvaluateRulesRequest], out *connect.ServerStream[call.Response]) error {
	if err := checkEvaluateRules(req.Msg); err != nil {
		return err
	}
	return q.service.Backend.EvaluateRules(ctx, callerOf(ctx), req.Msg, out)
}

// readSeries is ReadSeries with responses that are bytes already.
func (q queries) readSeries(ctx context.Context, req *connect.Request[queryv1.ReadSeriesRequest], out *connect.ServerStream[call.Response]) error {
	if err := checkReadSeries(req.Msg); err != nil {
		return err
	}
	return q.service.Backend.ReadSeries(ctx, callerOf(ctx), req.Msg, out)
}

// followTime is FollowTime with responses that are bytes already.
func (q queries) followTime(ctx context.Context, req *connect.Request[queryv1.FollowTimeRequest], out *connect.ServerStream[call.Response]) error {
	if err := checkFollowTime(req.Msg); err != nil {
		return err
	}
	return q.service.Backend.FollowTime(ctx, callerOf(ctx), req.Msg, out)
}
