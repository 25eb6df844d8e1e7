package cli

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// protected is a server that wants a user's password, written as an address that is not
// known to be this machine's, too.
func protected(t *testing.T, requests *atomic.Int32) (near, far string) {
	t.Helper()
	server := snapshot()
	server.Status = &metricsv1.GetStatusResponse{Instance: "server-1"}
	server.Before = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			if user, password, _ := r.BasicAuth(); user != "ann" || password != "secret" {
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	near = server.Start(t)
	_, port, err := net.SplitHostPort(near)
	require.NoError(t, err)
	return near, net.JoinHostPort("0.0.0.0", port)
}

func TestPasswordAndCleartext(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte("secret\n"), 0o600))
	for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
		for _, command := range []string{"get", "status", "metadata"} {
			t.Run(protocol+"/"+command, func(t *testing.T) {
				var requests atomic.Int32
				near, far := protected(t, &requests)
				ann := []string{command, "--protocol", protocol, "--basic-auth-user=ann", "--basic-auth-password-file", password, "--address"}
				r := runCLI(t, t.Context(), append(ann, near)...)
				require.Equal(t, ExitOK, r.code, r.stderr)
				require.NotContains(t, r.stderr, "command line")

				requests.Store(0)
				r = runCLI(t, t.Context(), append(ann, far)...)
				require.Equal(t, ExitUsage, r.code)
				require.Contains(t, r.stderr, far+": Authorization is not sent in the clear")
				require.Contains(t, r.stderr, "; try --tls, or --allow-cleartext-credentials")
				require.Zero(t, requests.Load())
				r = runCLI(t, t.Context(), append(ann, far, "--allow-cleartext-credentials")...)
				require.Equal(t, ExitOK, r.code, r.stderr)
			})
		}
	}
}

// Who a secret on the command line is told of: whoever typed it, and only there.
func TestSecretsOnTheCommandLine(t *testing.T) {
	var requests atomic.Int32
	near, _ := protected(t, &requests)
	const basic = "Authorization: Basic YW5uOnNlY3JldA=="
	r := runCLI(t, t.Context(), "status", "-a", near+","+near, "-H", basic, "-H", "X-Tenant: a", "--header=cookie:c")
	require.Equal(t, ExitOK, r.code, r.stderr)
	require.Equal(t, "prometheus-grpc-client: warning: other users of this machine can read Authorization, cookie on the command line: "+
		"use --bearer-token-file, --basic-auth-password-file or PROMGRPC_CLIENT_HEADER\n", r.stderr)

	t.Setenv("PROMGRPC_CLIENT_HEADER", basic)
	r = runCLI(t, t.Context(), "status", "-a", near)
	require.Equal(t, ExitOK, r.code, r.stderr)
	require.Empty(t, r.stderr)
}

func TestCredentialFlagsThatDoNotFit(t *testing.T) {
	for want, args := range map[string][]string{
		"belong together":    {"--basic-auth-user=ann"},
		"exclude each other": {"--basic-auth-user=ann", "--basic-auth-password-file=p", "--bearer-token-file=t"},
		"open none":          {"--basic-auth-user=ann", "--basic-auth-password-file=none"},
	} {
		r := runCLI(t, t.Context(), append([]string{"get"}, args...)...)
		require.Equal(t, ExitUsage, r.code)
		require.Contains(t, r.stderr, want)
	}
}

// What a server says of a caller's rights reaches the user, with advice only where it
// would help.
func TestRefusedCallers(t *testing.T) {
	for code, want := range map[connect.Code]string{
		connect.CodeUnauthenticated:  "unauthenticated: this server wants a token; try --bearer-token-file, --basic-auth-user or --tls-cert-file\n",
		connect.CodePermissionDenied: "permission denied: this server wants a token\n",
	} {
		server := &metricstest.Server{Script: func(context.Context, *metricstest.Call) error {
			return metricstest.Error(code, "this server wants a token")
		}}
		r := runCLI(t, t.Context(), "get", "--follow", "-a", server.Start(t))
		require.Equal(t, ExitFailure, r.code)
		require.Contains(t, r.stderr, want)
		require.Len(t, server.Requests(), 1)
	}
}

// Every command that calls servers, and completion, has the flags of TLS.
func TestCommandsOverTLS(t *testing.T) {
	certs := metricstest.NewCertificates(t)
	cert, key := certs.Issue("me", "spiffe://promgrpc/me")
	server := snapshot()
	server.TLS = certs.Mutual("server.example")
	server.Status = &metricsv1.GetStatusResponse{Instance: "server-1"}
	server.LabelNames = &metricsv1.GetLabelNamesResponse{Names: []string{"job"}}
	server.LabelValues = &metricsv1.GetLabelValuesResponse{Values: []string{"up"}}
	server.Segments = &metricsv1.ListSegmentsResponse{}
	address := server.Start(t)
	for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
		for _, command := range [][]string{{"get"}, {"labels"}, {"labels", "job"}, {"metadata"}, {"segments"}, {"status"}} {
			t.Run(protocol+"/"+strings.Join(command, " "), func(t *testing.T) {
				args := append(command, "--protocol", protocol, "-a", address, "--tls-ca-file", certs.CA, "--tls-server-name=server.example")
				r := runCLI(t, t.Context(), append(args, "--tls-cert-file", cert, "--tls-key-file", key)...)
				require.Equal(t, ExitOK, r.code, r.stderr)
				r = runCLI(t, t.Context(), args...)
				require.Equal(t, ExitUnreachable, r.code, r.stderr)
			})
		}
	}
	for name, value := range map[string]string{
		"ADDRESS": address, "TLS_CA_FILE": certs.CA, "TLS_SERVER_NAME": "server.example", "TLS_CERT_FILE": cert, "TLS_KEY_FILE": key,
	} {
		t.Setenv("PROMGRPC_CLIENT_"+name, value)
	}
	require.Equal(t, []string{"up"}, metricNames())
}

// Advice fits the end of the connection that did not trust the other.
func TestAdviceOnTLS(t *testing.T) {
	for text, want := range map[string]string{
		"connection error: remote error: tls: certificate required":        "--tls-cert-file",
		"tls: failed to verify certificate: x509: certificate signed by …": "--tls-ca-file",
		"tls: first record does not look like a TLS handshake":             "with or without --tls",
	} {
		message, code := explain(&promgrpc.UnreachableError{Errors: []error{&promgrpc.Error{Message: text}}})
		require.Equal(t, ExitUnreachable, code)
		require.Contains(t, message, "; ")
		require.Contains(t, message[strings.LastIndex(message, "; "):], want)
	}
}
