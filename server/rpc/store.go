package rpc

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/gen/go/thanos/info"
	"github.com/promgrpc/exporter/gen/go/thanos/info/infoconnect"
	"github.com/promgrpc/exporter/gen/go/thanos/thanosconnect"
	"github.com/promgrpc/exporter/server/call"
)

// Store answers Thanos' queriers. Errors of the calls that do not last may be refusals.
type Store interface {
	Info(call.Caller) (*info.InfoResponse, error)
	Series(context.Context, call.Caller, *thanos.SeriesRequest, *connect.ServerStream[call.Response]) error
	LabelNames(context.Context, call.Caller, *thanos.LabelNamesRequest) (*thanos.LabelNamesResponse, error)
	LabelValues(context.Context, call.Caller, *thanos.LabelValuesRequest) (*thanos.LabelValuesResponse, error)
}

// stores are the calls of Thanos' queriers.
type stores struct {
	thanosconnect.UnimplementedStoreHandler
	service *Service
}

// handleStore serves Thanos' StoreAPI, if there is one, and returns the names of its services.
func (s *Service) handleStore(mux *http.ServeMux, options connect.HandlerOption) []string {
	if s.Store == nil {
		return nil
	}
	h := stores{service: s}
	mux.Handle(infoconnect.NewInfoHandler(h, options))
	mux.Handle(thanosconnect.NewStoreHandler(h, options))
	// Series bypasses the generated handler, which knows only messages.
	mux.Handle(thanosconnect.StoreSeriesProcedure, connect.NewServerStreamHandler(
		thanosconnect.StoreSeriesProcedure, h.series,
		connect.WithSchema(thanos.File_thanos_store_proto.Services().ByName("Store").Methods().ByName("Series")),
		connect.WithIdempotency(connect.IdempotencyNoSideEffects),
		options,
	))
	return []string{infoconnect.InfoName, thanosconnect.StoreName}
}

// Info implements [infoconnect.InfoHandler].
func (h stores) Info(ctx context.Context, _ *connect.Request[info.InfoRequest]) (*connect.Response[info.InfoResponse], error) {
	res, err := h.service.Store.Info(callerOf(ctx))
	return response(h.service, res, err)
}

// series is Series with responses that are bytes already.
func (h stores) series(ctx context.Context, req *connect.Request[thanos.SeriesRequest], out *connect.ServerStream[call.Response]) error {
	return h.service.Store.Series(ctx, callerOf(ctx), req.Msg, out)
}

// LabelNames implements [thanosconnect.StoreHandler].
func (h stores) LabelNames(ctx context.Context, req *connect.Request[thanos.LabelNamesRequest]) (*connect.Response[thanos.LabelNamesResponse], error) {
	res, err := h.service.Store.LabelNames(ctx, callerOf(ctx), req.Msg)
	return response(h.service, res, err)
}

// LabelValues implements [thanosconnect.StoreHandler].
func (h stores) LabelValues(ctx context.Context, req *connect.Request[thanos.LabelValuesRequest]) (*connect.Response[thanos.LabelValuesResponse], error) {
	res, err := h.service.Store.LabelValues(ctx, callerOf(ctx), req.Msg)
	return response(h.service, res, err)
}

// response is that of an answer, unless there is an error.
func response[M any](s *Service, m *M, err error) (*connect.Response[M], error) {
	if err != nil {
		return nil, s.Refusals.Of(err)
	}
	return connect.NewResponse(m), nil
}
