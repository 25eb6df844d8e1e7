package rpc

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/server/stream"
)

// queries are the calls of the QueryService.
type queries struct {
	queryv1connect.UnimplementedQueryServiceHandler
	service *Service
}

// handleQueries serves the QueryService. Query bypasses the generated handler, which knows
// only messages.
func (s *Service) handleQueries(mux *http.ServeMux, options connect.HandlerOption) {
	q := queries{service: s}
	mux.Handle(queryv1connect.NewQueryServiceHandler(q, options))
	mux.Handle(queryv1connect.QueryServiceQueryProcedure, connect.NewServerStreamHandler(
		queryv1connect.QueryServiceQueryProcedure, q.query,
		connect.WithSchema(queryv1.File_promgrpc_query_v1_query_service_proto.Services().ByName("QueryService").Methods().ByName("Query")),
		connect.WithIdempotency(connect.IdempotencyNoSideEffects),
		options,
	))
}

// query is Query with responses that are bytes already.
func (q queries) query(ctx context.Context, req *connect.Request[queryv1.QueryRequest], out *connect.ServerStream[stream.Response]) error {
	if err := checkQuery(req.Msg); err != nil {
		return err
	}
	return q.service.Query.Query(ctx, callerOf(ctx), req.Msg, out)
}

// EvaluateRules implements [queryv1connect.QueryServiceHandler].
func (q queries) EvaluateRules(ctx context.Context, req *connect.Request[queryv1.EvaluateRulesRequest], out *connect.ServerStream[queryv1.EvaluateRulesResponse]) error {
	if err := checkEvaluateRules(req.Msg); err != nil {
		return err
	}
	return q.UnimplementedQueryServiceHandler.EvaluateRules(ctx, req, out)
}
