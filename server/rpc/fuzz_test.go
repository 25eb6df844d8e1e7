package rpc

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/stream"
)

// fuzzed serves no logs, and has limits that one call does not reach.
func fuzzed(f *testing.F) *Service {
	store, err := seglog.OpenStore(f.TempDir(), seglog.DefaultOptions())
	require.NoError(f, err)
	replicas, err := replica.Open(store, nil, slog.New(slog.DiscardHandler))
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, errors.Join(replicas.Close(), store.Close())) })
	budget := func(name string) *limit.Budget { return limit.NewBudget("--limit."+name, "units", 1<<30, 1<<30) }
	log := throttle.New(slog.New(slog.DiscardHandler), time.Second)
	refusals := refusal.New()
	evaluations := selection.NewEvaluations(selection.DefaultLimits(), budget("evaluation-bytes"))
	config := stream.DefaultConfig()
	config.MaxAge = 0
	streams := stream.New(config, stream.Shared{
		Replicas: replicas, Evaluations: evaluations, Refusals: refusals, Log: log,
		Open: budget("streams"), Bytes: budget("stream-bytes"), Decodes: budget("decodes"),
	})
	return New(Config{RequestTimeout: 10 * time.Second, StallTimeout: time.Minute, MinRate: 1 << 14, RequestBytes: 1 << 20}, Shared{
		Replicas: replicas, Evaluations: evaluations, Refusals: refusals, Streams: streams, Log: log,
		Bytes: budget("call-bytes"), Lookups: budget("lookups"), Started: time.Now(),
		Ready: streams.Serving, Upstream: func() string { return "" },
	})
}

// FuzzCalls makes calls with any bytes as their bodies, by each protocol. None may
// panic or be an internal error.
func FuzzCalls(f *testing.F) {
	handler := fuzzed(f).http.Handler
	procedures := []string{
		metricsv1connect.MetricsServiceGetMetricsProcedure,
		metricsv1connect.MetricsServiceGetStatusProcedure,
		metricsv1connect.MetricsServiceGetLabelValuesProcedure,
		metricsv1connect.MetricsServiceGetMetadataProcedure,
	}
	types := []string{"application/grpc", "application/grpc-web", "application/connect+proto", "application/connect+json", "application/proto", "application/json"}
	wire, err := proto.Marshal(&metricsv1.GetMetricsRequest{Selectors: []string{`up{a=~"b.*"}`}})
	require.NoError(f, err)
	enveloped := append([]byte{0, 0, 0, 0, byte(len(wire))}, wire...)
	for i := range types {
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
