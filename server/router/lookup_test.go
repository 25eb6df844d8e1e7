package router

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
)

// hung is a server that takes calls and answers none.
type hung struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
}

// GetLabelNames implements the service.
func (hung) GetLabelNames(ctx context.Context, _ *connect.Request[metricsv1.GetLabelNamesRequest]) (*connect.Response[metricsv1.GetLabelNamesResponse], error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A group that is known to be away is not called: that might take as long as the caller has.
func TestAwayIsNotCalled(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle(metricsv1connect.NewMetricsServiceHandler(hung{}))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	c := DefaultConfig()
	c.GroupsFile, c.RPCAddress, c.WebAddress, c.Timeout = filepath.Join(t.TempDir(), "groups.yml"), "127.0.0.1:0", "127.0.0.1:0", time.Second
	require.NoError(t, os.WriteFile(c.GroupsFile, []byte("groups: {b: {servers: \""+server.Listener.Addr().String()+"\"}}"), 0o600))
	r, err := New(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.groups.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, r.Close())
	})
	list, _ := r.groups.Now()
	require.Eventually(t, list[0].Away, time.Minute, time.Millisecond)
	for _, when := range []metricsv1.WhenAway{metricsv1.WhenAway_WHEN_AWAY_REFUSE, metricsv1.WhenAway_WHEN_AWAY_WAIT} {
		within, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := r.lookup(call.Caller{}, when).ask(within, list[0], metricsv1connect.MetricsServiceGetLabelNamesProcedure, &metricsv1.GetLabelNamesRequest{}, new(metricsv1.GetLabelNamesResponse))
		cancel()
		away := new(refusal.AwayError)
		require.ErrorAs(t, err, &away, "%v", when)
	}
}
