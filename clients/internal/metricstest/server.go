// Package metricstest is a MetricsService and a QueryService for tests of clients: a
// real server on a real port, whose streams follow a script, and series for it to send.
package metricstest

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
)

// StreamCall is one streaming call.
type StreamCall[Req, Res any] struct {
	// Number of the call at this server, from 0.
	Number  int
	Request *Req
	// Send sends a response.
	Send func(*Res) error
}

// Call is one call of GetMetrics.
type Call = StreamCall[metricsv1.GetMetricsRequest, metricsv1.GetMetricsResponse]

// QueryCall is one call of Query.
type QueryCall = StreamCall[queryv1.QueryRequest, queryv1.QueryResponse]

// RulesCall is one call of EvaluateRules.
type RulesCall = StreamCall[queryv1.EvaluateRulesRequest, queryv1.EvaluateRulesResponse]

// Script answers a call. It may return a *connect.Error, or nil for a stream
// that closes properly, or call Abort.
type Script func(ctx context.Context, call *Call) error

// QueryScript answers a call of Query, as Script does.
type QueryScript func(ctx context.Context, call *QueryCall) error

// RulesScript answers a call of EvaluateRules, as Script does.
type RulesScript func(ctx context.Context, call *RulesCall) error

// Abort breaks the connection, in the middle of the stream.
func Abort() { panic(http.ErrAbortHandler) }

// Server is scripted. Its fields have the answers to unary calls;
// nil means UNIMPLEMENTED, except for Metadata, which is empty then.
type Server struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
	Script      Script
	Query       QueryScript
	Rules       RulesScript
	LabelNames  *metricsv1.GetLabelNamesResponse
	LabelValues *metricsv1.GetLabelValuesResponse
	Metadata    *metricsv1.GetMetadataResponse
	Segments    *metricsv1.ListSegmentsResponse
	// Lookup, if not nil, answers GetLabelNames with its error.
	Lookup func(context.Context) error
	Status *metricsv1.GetStatusResponse
	// TLS, if not nil, is served instead of cleartext.
	TLS *tls.Config
	// Before, if not nil, wraps the service, as a proxy would.
	Before func(http.Handler) http.Handler

	mu       sync.Mutex
	requests []*metricsv1.GetMetricsRequest
	queries  []*queryv1.QueryRequest
	rules    int // calls of EvaluateRules
	lookups  int
	http     *httptest.Server
}

// Start serves until the test ends, and returns the address.
func (s *Server) Start(t testing.TB) string {
	t.Helper()
	t.Cleanup(s.Stop)
	return s.Listen()
}

// Listen serves until Stop, over HTTP/1.1 and HTTP/2, and returns the address.
func (s *Server) Listen() string {
	mux := http.NewServeMux()
	mux.Handle(metricsv1connect.NewMetricsServiceHandler(s))
	mux.Handle(queryv1connect.NewQueryServiceHandler(queryService{server: s}))
	var handler http.Handler = mux
	if s.Before != nil {
		handler = s.Before(mux)
	}
	s.http = httptest.NewUnstartedServer(handler)
	if s.TLS != nil {
		s.http.TLS, s.http.EnableHTTP2 = s.TLS, true
		s.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		s.http.StartTLS()
		return s.http.Listener.Addr().String()
	}
	s.http.Config.Protocols = new(http.Protocols)
	s.http.Config.Protocols.SetHTTP1(true)
	s.http.Config.Protocols.SetUnencryptedHTTP2(true)
	s.http.Start()
	return s.http.Listener.Addr().String()
}

// Stop closes every connection and the listener. It may be called twice.
func (s *Server) Stop() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// Cut closes every connection, as a failing network would.
func (s *Server) Cut() { s.http.CloseClientConnections() }

// Die closes the listener and every connection, as a dying process does. A script
// has to call it in the background, and wait for its context.
func (s *Server) Die() {
	_ = s.http.Listener.Close()
	s.Cut()
}

// Requests returns those of GetMetrics so far.
func (s *Server) Requests() []*metricsv1.GetMetricsRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*metricsv1.GetMetricsRequest(nil), s.requests...)
}

// GetMetrics runs the script.
func (s *Server) GetMetrics(ctx context.Context, req *connect.Request[metricsv1.GetMetricsRequest], stream *connect.ServerStream[metricsv1.GetMetricsResponse]) error {
	s.mu.Lock()
	call := &Call{Number: len(s.requests), Request: req.Msg, Send: stream.Send}
	s.requests = append(s.requests, req.Msg)
	s.mu.Unlock()
	return s.Script(ctx, call)
}

// Queries returns the requests of Query so far.
func (s *Server) Queries() []*queryv1.QueryRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*queryv1.QueryRequest(nil), s.queries...)
}

// queryService is a Server's QueryService.
type queryService struct {
	queryv1connect.UnimplementedQueryServiceHandler
	server *Server
}

// Query runs the script.
func (q queryService) Query(ctx context.Context, req *connect.Request[queryv1.QueryRequest], stream *connect.ServerStream[queryv1.QueryResponse]) error {
	s := q.server
	if s.Query == nil {
		return connect.NewError(connect.CodeUnimplemented, nil)
	}
	s.mu.Lock()
	call := &QueryCall{Number: len(s.queries), Request: req.Msg, Send: stream.Send}
	s.queries = append(s.queries, req.Msg)
	s.mu.Unlock()
	return s.Query(ctx, call)
}

// EvaluateRules runs the script.
func (q queryService) EvaluateRules(ctx context.Context, req *connect.Request[queryv1.EvaluateRulesRequest], stream *connect.ServerStream[queryv1.EvaluateRulesResponse]) error {
	s := q.server
	if s.Rules == nil {
		return connect.NewError(connect.CodeUnimplemented, nil)
	}
	s.mu.Lock()
	call := &RulesCall{Number: s.rules, Request: req.Msg, Send: stream.Send}
	s.rules++
	s.mu.Unlock()
	return s.Rules(ctx, call)
}

// Lookups returns how many calls GetLabelNames got so far.
func (s *Server) Lookups() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookups
}

// GetLabelNames answers with LabelNames, or the error of Lookup.
func (s *Server) GetLabelNames(ctx context.Context, _ *connect.Request[metricsv1.GetLabelNamesRequest]) (*connect.Response[metricsv1.GetLabelNamesResponse], error) {
	s.mu.Lock()
	s.lookups++
	s.mu.Unlock()
	if s.Lookup != nil {
		return nil, s.Lookup(ctx)
	}
	return answer(s.LabelNames)
}

// GetLabelValues answers with LabelValues.
func (s *Server) GetLabelValues(context.Context, *connect.Request[metricsv1.GetLabelValuesRequest]) (*connect.Response[metricsv1.GetLabelValuesResponse], error) {
	return answer(s.LabelValues)
}

// GetMetadata answers with Metadata.
func (s *Server) GetMetadata(context.Context, *connect.Request[metricsv1.GetMetadataRequest]) (*connect.Response[metricsv1.GetMetadataResponse], error) {
	if s.Metadata == nil {
		return answer(&metricsv1.GetMetadataResponse{})
	}
	return answer(s.Metadata)
}

// ListSegments answers with Segments.
func (s *Server) ListSegments(context.Context, *connect.Request[metricsv1.ListSegmentsRequest]) (*connect.Response[metricsv1.ListSegmentsResponse], error) {
	return answer(s.Segments)
}

// GetStatus answers with Status.
func (s *Server) GetStatus(context.Context, *connect.Request[metricsv1.GetStatusRequest]) (*connect.Response[metricsv1.GetStatusResponse], error) {
	return answer(s.Status)
}

func answer[Res any](res *Res) (*connect.Response[Res], error) {
	if res == nil {
		return nil, connect.NewError(connect.CodeUnimplemented, nil)
	}
	return connect.NewResponse(res), nil
}

// Error returns an error with details.
func Error(code connect.Code, message string, details ...proto.Message) error {
	err := connect.NewError(code, errorString(message))
	for _, m := range details {
		detail, derr := connect.NewErrorDetail(m)
		if derr != nil {
			return derr
		}
		err.AddDetail(detail)
	}
	return err
}

type errorString string

func (e errorString) Error() string { return string(e) }
