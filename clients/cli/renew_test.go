package cli

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/internal/authority"
	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/internal/renew"
)

// issue makes an authority, and a certificate of the loopback address by it.
func issue(t *testing.T) (*tls.Certificate, []byte) {
	t.Helper()
	a, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	pair, err := a.Issue(authority.Request{Names: []string{"127.0.0.1"}})
	require.NoError(t, err)
	certificate, err := pair.TLS()
	require.NoError(t, err)
	return &certificate, a.Cert()
}

// deaf implements nothing.
type deaf struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
}

// When a server gets a certificate of another authority, and the client's CA file is
// renewed, no new client is needed, over any protocol.
func TestRenewedAuthorities(t *testing.T) {
	for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
		t.Run(protocol, func(t *testing.T) {
			var current atomic.Pointer[tls.Certificate]
			mux := http.NewServeMux()
			mux.Handle(metricsv1connect.NewMetricsServiceHandler(deaf{}))
			server := httptest.NewUnstartedServer(mux)
			server.EnableHTTP2 = true
			server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return &tls.Config{Certificates: []tls.Certificate{*current.Load()}, NextProtos: []string{"h2", "http/1.1"}}, nil
			}}
			certificate, ca := issue(t)
			current.Store(certificate)
			server.StartTLS()
			defer server.Close()
			file := filepath.Join(t.TempDir(), "ca.pem")
			require.NoError(t, os.WriteFile(file, ca, 0o600))
			c := connection{protocol: protocol, Flags: credential.Flags{TLSFiles: renew.TLSFiles{CA: file}}}
			client, err := c.dial([]string{server.Listener.Addr().String()}, promgrpc.Options{MinBackoff: time.Millisecond})
			require.NoError(t, err)
			defer client.Close()
			// Any answer means that TLS worked.
			reached := func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				_, err := client.GetMetadata(ctx, &metricsv1.GetMetadataRequest{})
				require.Error(t, err)
				var e *promgrpc.Error
				require.ErrorAs(t, err, &e)
				return e.Code.String() == "Unimplemented"
			}
			require.True(t, reached())

			certificate, ca = issue(t)
			current.Store(certificate)
			server.CloseClientConnections()
			require.False(t, reached(), "the new authority is not known yet")
			require.NoError(t, os.WriteFile(file, nil, 0o600))
			require.False(t, reached())
			require.NoError(t, os.WriteFile(file, ca, 0o600))
			require.True(t, reached())
		})
	}
}
