package promgrpc_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
)

// TestHeader calls through a proxy that demands a token, which changes between calls
// and while a stream is open.
func TestHeader(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			var guard metricstest.Guard
			renew := func(token string) {
				if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
					t.Error(err)
				}
				guard.Expect(token)
			}
			server := answers()
			server.Before = guard.Before
			server.Script = sequence(3, 1, func() error { renew("third"); metricstest.Abort(); return nil })
			c := newClient(t, protocol, promgrpc.Options{
				Header: http.Header{"X-Tenant": {"a", "b"}}, Authorization: promgrpc.TokenFile(file),
			}, server.Start(t))
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-trace", "t", "x-trace-bin", "\x00\xff")
			for _, token := range []string{"first", "second"} {
				renew(token)
				_, err := c.GetStatus(ctx)
				require.NoError(t, err)
			}
			require.Equal(t, []int{1, 2, 3}, values(t, c, promgrpc.Selection{}))
			headers := guard.Headers()
			require.Len(t, headers, 4, "two calls, and a stream that was opened twice")
			for _, h := range headers {
				require.Equal(t, []string{"a", "b"}, h.Values("X-Tenant"))
			}
			require.Equal(t, "t", headers[0].Get("X-Trace"))
			binary, err := connect.DecodeBinaryHeader(headers[0].Get("X-Trace-Bin"))
			require.NoError(t, err)
			require.Equal(t, "\x00\xff", string(binary))

			guard.Expect("another")
			_, err = c.GetStatus(ctx)
			require.Equal(t, codes.Unauthenticated, status.Code(err))
			require.NotContains(t, err.Error(), "third")
			require.Equal(t, codes.Unauthenticated, status.Code(lastError(t, c, promgrpc.Selection{Follow: true})))
		})
	}
}

// TestTokenFails has no token for a while, which counts as a server that is down.
func TestTokenFails(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			var guard metricstest.Guard
			guard.Expect("secret")
			server := answers()
			server.Before = guard.Before
			server.Script = sequence(3, 1, func() error { return nil })
			address := server.Start(t)
			var asked atomic.Int32
			c := newClient(t, protocol, promgrpc.Options{Authorization: func(context.Context) (string, error) {
				if asked.Add(1) <= 2 {
					return "", errors.New("none yet")
				}
				return "Bearer secret", nil
			}}, address)
			require.Equal(t, []int{1, 2, 3}, values(t, c, promgrpc.Selection{}))

			var u *promgrpc.UnreachableError
			for path, want := range map[string]string{
				filepath.Join(t.TempDir(), "none"): "credential: open ",
				"header_test.go":                   "header_test.go: want a token of printable ASCII",
			} {
				_, err := newClient(t, protocol, promgrpc.Options{Authorization: promgrpc.TokenFile(path)}, address).GetStatus(t.Context())
				require.ErrorAs(t, err, &u)
				require.ErrorContains(t, err, want)
			}
			_, err := newClient(t, protocol, promgrpc.Options{Authorization: func(context.Context) (string, error) {
				return "sec\nret", nil
			}}, address).GetStatus(t.Context())
			require.ErrorAs(t, err, &u)
			require.NotContains(t, err.Error(), "ret")
		})
	}
}

// TestHeaderIsNotSentElsewhere has a server that redirects to another one.
func TestHeaderIsNotSentElsewhere(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			var strayed atomic.Int32
			other := answers()
			other.Before = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					strayed.Add(1)
					next.ServeHTTP(w, r)
				})
			}
			elsewhere := "http://" + other.Start(t)
			server := answers()
			server.Before = func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
				})
			}
			c := newClient(t, protocol, promgrpc.Options{Header: http.Header{"X-Key": {"secret"}}}, server.Start(t))
			_, err := c.GetStatus(t.Context())
			require.Error(t, err)
			require.Zero(t, strayed.Load())
		})
	}
}

func TestNewRefusesHeaders(t *testing.T) {
	token := func(context.Context) (string, error) { return "t", nil }
	for _, tc := range []struct {
		header http.Header
		token  func(context.Context) (string, error)
		want   string
	}{
		{http.Header{"a b": {"c"}}, nil, `"a b"`},
		{http.Header{"": {"c"}}, nil, "no name"},
		{http.Header{"Content-Type": {"c"}}, nil, "set by the protocol"},
		{http.Header{"Grpc-Timeout": {"c"}}, nil, "set by the protocol"},
		{http.Header{"X-Bin": {"c"}}, nil, "binary"},
		{http.Header{"Authorization": {"c"}}, token, "both"},
		{http.Header{"X-Key": {"sec\nret"}}, nil, "X-Key: want"},
		{http.Header{"X-Key": {"sec", ""}}, nil, "X-Key: want"},
	} {
		_, err := promgrpc.New([]string{"localhost:1"}, promgrpc.Options{Header: tc.header, Authorization: tc.token})
		require.ErrorContains(t, err, tc.want)
		require.NotContains(t, err.Error(), "sec")
	}
}
