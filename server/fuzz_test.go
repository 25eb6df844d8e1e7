package server

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// FuzzCalls makes calls whose bodies are any bytes, by each protocol. None may
// end the server or be its fault.
func FuzzCalls(f *testing.F) {
	c := DefaultConfig()
	c.LinkAddress, c.RPCAddress, c.WebAddress, c.StoragePath = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", f.TempDir()
	s, err := New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, s.Close()) })
	handler := s.http.Handler
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
