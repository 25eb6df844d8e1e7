package cli

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// TestHeader calls through a proxy that demands a token, which is renewed while a
// stream is open.
func TestHeader(t *testing.T) {
	for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
		t.Run(protocol, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			var guard metricstest.Guard
			renew := func(token string) {
				if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
					t.Error(err)
				}
				guard.Expect(token)
			}
			renew("secret-1")
			server := counting(1)
			server.Before = guard.Before
			server.Status = &metricsv1.GetStatusResponse{Instance: "server-1"}
			server.LabelValues = &metricsv1.GetLabelValuesResponse{Values: []string{"up"}}
			count := server.Script
			server.Script = func(ctx context.Context, call *metricstest.Call) error {
				if call.Number > 0 {
					return count(ctx, call)
				}
				if err := call.Send(&metricsv1.GetMetricsResponse{Timeseries: []*metricsv1.TimeSeries{float(0, "__name__", "n")}, Cursor: "c0"}); err != nil {
					return err
				}
				renew("secret-2")
				metricstest.Abort()
				return nil
			}
			t.Setenv("PROMGRPC_CLIENT_ADDRESS", server.Start(t))
			t.Setenv("PROMGRPC_CLIENT_PROTOCOL", protocol)
			t.Setenv("PROMGRPC_CLIENT_BEARER_TOKEN_FILE", file)

			r := runCLI(t, t.Context(), "status", "-H", "X-Tenant: a", "--header=x-tenant:b")
			require.Equal(t, ExitOK, r.code, r.stderr)
			require.Equal(t, []string{"a", "b"}, guard.Headers()[0].Values("X-Tenant"))
			r = runCLI(t, t.Context(), "get", "--follow", "--limit=2")
			require.Equal(t, ExitOK, r.code, r.stderr)
			require.Equal(t, "n 0 1700000000123\nn 1 1700000000123\n", r.stdout)
			require.NotContains(t, r.stderr, "secret")
			require.Equal(t, []string{"up"}, metricNames(), "completion goes there too")

			guard.Expect("secret-3")
			r = runCLI(t, t.Context(), "get")
			require.Equal(t, ExitFailure, r.code)
			require.Contains(t, r.stderr, "; try --bearer-token-file, --basic-auth-user or --tls-cert-file")
			require.NotContains(t, r.stderr, "secret")

			// The same by a header from the environment.
			t.Setenv("PROMGRPC_CLIENT_BEARER_TOKEN_FILE", "")
			t.Setenv("PROMGRPC_CLIENT_HEADER", "X-Tenant: a\nAuthorization: Bearer secret-3")
			r = runCLI(t, t.Context(), "status")
			require.Equal(t, ExitOK, r.code, r.stderr)
			r = runCLI(t, t.Context(), "status", "--bearer-token-file", file)
			require.Equal(t, ExitUsage, r.code)
			require.Contains(t, r.stderr, "both a header Authorization and a credential for it")
		})
	}
}

func TestBrokenHeaders(t *testing.T) {
	two := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(two, []byte("secret\nsecret\n"), 0o600))
	for _, tc := range []struct{ arg, want string }{
		{"--header=secret", "--header: want 'NAME: VALUE', number 1 has no colon"},
		{"--header=Content-Type: secret", "header Content-Type is set by the protocol"},
		{"--header=X-Key: secret\x00", "header X-Key: want a value of printable ASCII"},
		{"--bearer-token-file=testdata/none", "--bearer-token-file: open testdata/none"},
		{"--bearer-token-file=" + two, "want a token of printable ASCII"},
	} {
		for _, command := range []string{"get", "status"} {
			r := runCLI(t, t.Context(), command, tc.arg)
			require.NotZero(t, r.code)
			require.Contains(t, r.stderr, tc.want)
			require.NotContains(t, r.stderr, "secret")
		}
	}
}
