package server_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/server"
)

// What browsers ask for before a call of Connect or gRPC-Web, compressed or not,
// with or without a deadline and a token.
var browserHeaders = map[string]string{
	"connect stream":      "connect-protocol-version,content-type",
	"connect, compressed": "connect-accept-encoding,connect-content-encoding,connect-protocol-version,content-type",
	"connect, deadline":   "connect-protocol-version,connect-timeout-ms,content-type",
	"grpc-web":            "content-type,x-grpc-web,x-user-agent",
	"grpc-web, deadline":  "content-type,grpc-accept-encoding,grpc-timeout,x-grpc-web",
	"token":               "authorization,connect-protocol-version,content-type",
}

func listed(h http.Header, header string) map[string]bool {
	names := map[string]bool{}
	for name := range strings.SplitSeq(h.Get(header), ",") {
		names[strings.ToLower(strings.TrimSpace(name))] = true
	}
	return names
}

func TestCORS(t *testing.T) {
	c := testConfig(t)
	c.CORSOrigins = []string{"https://example.org"}
	s := start(t, c)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ask := func(method, origin, headers string) (int, http.Header) {
		r, err := http.NewRequest(method, "http://"+s.RPCAddr().String()+metricsv1connect.MetricsServiceGetMetricsProcedure, nil)
		require.NoError(t, err)
		r.Header.Set("Origin", origin)
		if method == http.MethodOptions {
			r.Header.Set("Access-Control-Request-Method", "POST")
			r.Header.Set("Access-Control-Request-Headers", headers)
		}
		answer, err := client.Do(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		return answer.StatusCode, answer.Header
	}
	for name, headers := range browserHeaders {
		t.Run(name, func(t *testing.T) {
			status, r := ask(http.MethodOptions, "https://example.org", headers)
			require.Equal(t, http.StatusNoContent, status)
			require.Equal(t, "https://example.org", r.Get("Access-Control-Allow-Origin"))
			require.Contains(t, r.Values("Vary"), "Origin")
			allowed := listed(r, "Access-Control-Allow-Headers")
			for header := range strings.SplitSeq(headers, ",") {
				require.True(t, allowed[header], "%s is not allowed", header)
			}
		})
	}
	_, answer := ask(http.MethodPost, "https://example.org", "")
	seen := listed(answer, "Access-Control-Expose-Headers")
	for _, header := range []string{"grpc-status", "grpc-message", "grpc-status-details-bin", "connect-content-encoding", "retry-after", "promgrpc-instance"} {
		require.True(t, seen[header], "%s is not exposed", header)
	}
	for _, method := range []string{http.MethodOptions, http.MethodPost} {
		_, answer := ask(method, "https://evil.example", "authorization")
		require.Empty(t, answer.Get("Access-Control-Allow-Origin"))
	}
}

func TestOriginsAreChecked(t *testing.T) {
	for _, origin := range []string{"https://example.org/", "example.org", "https://", "https://a/b", "https://me@a", "two words"} {
		c := testConfig(t)
		c.CORSOrigins = []string{"https://example.org:8443", "*", origin}
		_, err := server.New(c, slog.New(slog.DiscardHandler), nil)
		require.ErrorContains(t, err, `--rpc.cors-origin: "`+origin)
	}
}
