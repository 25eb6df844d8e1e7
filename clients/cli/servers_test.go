package cli

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// consul lists servers, the last one as not ready.
func consul(t *testing.T, addresses ...string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if q.Get("index") != "" { // Nothing will change.
			wait, _ := time.ParseDuration(q.Get("wait"))
			select {
			case <-time.After(wait):
			case <-r.Context().Done():
			}
		}
		entries := []*api.ServiceEntry{}
		for i, address := range addresses {
			host, port, _ := strings.Cut(address, ":")
			n, _ := strconv.Atoi(port)
			if i == len(addresses)-1 && q.Has("passing") {
				continue
			}
			entries = append(entries, &api.ServiceEntry{
				Node: &api.Node{}, Service: &api.AgentService{ID: address, Address: host, Port: n},
			})
		}
		w.Header().Set("X-Consul-Index", "1")
		_ = json.NewEncoder(w).Encode(entries)
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return "consul://" + strings.TrimPrefix(s.URL, "http://") + "/prometheus-api-server"
}

func TestServersOfADirectory(t *testing.T) {
	ready, unready := snapshot(), snapshot()
	ready.Status, unready.Status = &metricsv1.GetStatusResponse{Instance: "one", Ready: true}, &metricsv1.GetStatusResponse{Instance: "two", NotReady: "it has no log"}
	spec := consul(t, ready.Start(t), unready.Start(t))

	direct := runCLI(t, t.Context(), "get", "-o", "json", "-a", snapshot().Start(t))
	for range 3 {
		r := runCLI(t, t.Context(), "get", "-o", "json", "-a", spec)
		require.Equal(t, 0, r.code, r.stderr)
		require.Equal(t, direct.stdout, r.stdout)
		require.Empty(t, r.stderr)
	}
	require.Empty(t, unready.Requests())
	r := runCLI(t, t.Context(), "status", "-a", spec)
	require.Equal(t, 0, r.code, r.stderr)
	require.Contains(t, r.stdout, "one")
	require.Contains(t, r.stdout, "two", "the state of a server that is not ready is of interest")
	require.Contains(t, r.stdout, "not ready: it has no log")
}

func TestDirectoryFails(t *testing.T) {
	var s metricstest.Server
	empty := consul(t, s.Start(t))
	for _, tc := range []struct {
		name   string
		args   []string
		code   int
		stderr string
	}{
		{"unknown scheme", []string{"get", "-a", "http://a"}, ExitUsage, `--address: peers "http://a": unknown scheme "http"`},
		{"no service", []string{"status", "-a", "consul://a"}, ExitUsage, "is not the name of a service"},
		{"no server", []string{"get", "-a", empty}, ExitUnreachable, "no server is registered at " + empty},
		{"away", []string{"get", "-a", "consul://127.0.0.1:1/s", "--timeout=300ms"}, ExitFailure, "discovery fails"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := runCLI(t, t.Context(), tc.args...)
			require.Equal(t, tc.code, r.code, r.stderr)
			require.Contains(t, r.stderr, tc.stderr)
			require.Empty(t, r.stdout)
		})
	}
}
