package rpc

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/selection"
)

// parsing is a backend that parses selectors, and has nothing that they could select.
type parsing struct {
	Backend
	calls       *call.Calls
	evaluations *selection.Evaluations
}

func (p parsing) parse(ctx context.Context, from call.Caller, selectors []string) error {
	e := p.evaluations.New(ctx, from.Viewer())
	defer e.End()
	_, err := e.Parse(selectors)
	return err
}

func (p parsing) GetMetrics(ctx context.Context, from call.Caller, req *metricsv1.GetMetricsRequest, out *connect.ServerStream[call.Response]) error {
	return p.stream(ctx, from, req.GetSelectors(), new(metricsv1.GetMetricsResponse), out)
}

func (p parsing) ReadSeries(ctx context.Context, from call.Caller, req *queryv1.ReadSeriesRequest, out *connect.ServerStream[call.Response]) error {
	return p.stream(ctx, from, req.GetSelectors(), new(queryv1.ReadSeriesResponse), out)
}

func (p parsing) FollowTime(ctx context.Context, from call.Caller, _ *queryv1.FollowTimeRequest, out *connect.ServerStream[call.Response]) error {
	return p.stream(ctx, from, nil, new(queryv1.FollowTimeResponse), out)
}

// stream sends one response without anything in it.
func (p parsing) stream(ctx context.Context, from call.Caller, selectors []string, response proto.Message, out *connect.ServerStream[call.Response]) error {
	c, err := p.calls.AdmitReader(ctx, from)
	if err != nil {
		return err
	}
	defer c.Leave()
	if err := p.parse(ctx, from, selectors); err != nil {
		return c.Ended("", err)
	}
	to := call.NewSender(c, out, func() proto.Message { return response })
	return c.Ended("", to.Send(make([]byte, call.PrefixSize)))
}

func (p parsing) GetLabelValues(ctx context.Context, from call.Caller, req *metricsv1.GetLabelValuesRequest) (*metricsv1.GetLabelValuesResponse, error) {
	return &metricsv1.GetLabelValuesResponse{}, p.parse(ctx, from, req.GetSelectors())
}

func (p parsing) GetMetadata(context.Context, call.Caller, *metricsv1.GetMetadataRequest) (*metricsv1.GetMetadataResponse, error) {
	return &metricsv1.GetMetadataResponse{}, nil
}

func (p parsing) GetStatus(context.Context, call.Caller, *metricsv1.GetStatusRequest, *metricsv1.GetStatusResponse) error {
	return nil
}

// fuzzed has limits that one call does not reach.
func fuzzed() *Service {
	budget := func(name string) *limit.Budget { return limit.NewBudget("--limit."+name, "units", 1<<30, 1<<30) }
	log := throttle.New(slog.New(slog.DiscardHandler), time.Second)
	refusals := refusal.New()
	ready := func() error { return nil }
	calls := call.New(call.Bounds{}, call.Shared{
		Refusals: refusals, Log: log, Open: budget("streams"), Bytes: budget("stream-bytes"), Begun: ready,
	})
	return New(Config{RequestTimeout: 10 * time.Second, StallTimeout: time.Minute, MinRate: 1 << 14, RequestBytes: 1 << 20}, Shared{
		Backend: parsing{calls: calls, evaluations: selection.NewEvaluations(selection.DefaultLimits(), budget("evaluation-bytes"))},
		Calls:   calls, Refusals: refusals, Log: log, Bytes: budget("call-bytes"), Started: time.Now(),
		Ready: ready, Listeners: func() []daemon.Listener { return nil },
	})
}

// FuzzCalls makes calls with any bytes as their bodies, by each protocol. None may
// panic or be an internal error.
func FuzzCalls(f *testing.F) {
	handler := fuzzed().http.Handler
	procedures := []string{
		metricsv1connect.MetricsServiceGetMetricsProcedure,
		metricsv1connect.MetricsServiceGetStatusProcedure,
		metricsv1connect.MetricsServiceGetLabelValuesProcedure,
		metricsv1connect.MetricsServiceGetMetadataProcedure,
		queryv1connect.QueryServiceReadSeriesProcedure,
		queryv1connect.QueryServiceFollowTimeProcedure,
	}
	types := []string{"application/grpc", "application/grpc-web", "application/connect+proto", "application/connect+json", "application/proto", "application/json"}
	wire, err := proto.Marshal(&metricsv1.GetMetricsRequest{Selectors: []string{`up{a=~"b.*"}`}})
	require.NoError(f, err)
	enveloped := append([]byte{0, 0, 0, 0, byte(len(wire))}, wire...)
	series, err := proto.Marshal(&queryv1.ReadSeriesRequest{Selectors: []string{`up{a=~"b.*"}`}, MaxTime: 1})
	require.NoError(f, err)
	for i := range types {
		f.Add(uint8(4), uint8(i), append([]byte{0, 0, 0, 0, byte(len(series))}, series...))
		f.Add(uint8(4), uint8(i), []byte("\x00\x00\x00\x00\x13{\"selectors\":[\"{\"]}"))
		f.Add(uint8(5), uint8(i), []byte{0, 0, 0, 0, 2, 8, 9})
		f.Add(uint8(5), uint8(i), []byte{0, 0, 0, 0, 0})
		f.Add(uint8(0), uint8(i), enveloped)
		f.Add(uint8(2), uint8(i), wire)
		f.Add(uint8(0), uint8(i), []byte("\x00\x00\x00\x00\x14{\"selectors\":[\"up\"]}"))
		f.Add(uint8(3), uint8(i), []byte(`{"family":"up"}`))
		f.Add(uint8(1), uint8(i), []byte{1, 0xff, 0xff, 0xff, 0xff})
	}
	f.Fuzz(func(t *testing.T, procedure, kind uint8, body []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, procedures[int(procedure)%len(procedures)], bytes.NewReader(body))
		r.ProtoMajor, r.ProtoMinor = 2, 0
		r.Header.Set("Content-Type", types[int(kind)%len(types)])
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.NotEqual(t, http.StatusInternalServerError, w.Code, "%s", w.Body)
	})
}
