package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/authority"
)

// check runs the subcommand of a program that has operators' flags.
func check(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var stdout, stderr syncBuffer
	c := DefaultOpsConfig()
	p := Program{
		Name: "program", Args: append([]string{"healthcheck"}, args...), Stdout: &stdout, Stderr: &stderr,
		Setup: func(app *kingpin.Application) func(context.Context, *Env) error {
			c.RegisterFlags(app)
			return func(context.Context, *Env) error { panic("the program runs") }
		},
	}
	code := p.Run(t.Context())
	require.Empty(t, stdout.String())
	return code, stderr.String()
}

func startOps(t *testing.T, config string, ready func() error) string {
	t.Helper()
	w, err := NewOps(onAnyPort(config), slog.New(slog.DiscardHandler), prometheus.NewRegistry(), ready)
	require.NoError(t, err)
	t.Cleanup(runWeb(t, w))
	return w.Addr().String()
}

func TestHealthcheck(t *testing.T) {
	var ready atomic.Pointer[error]
	address := startOps(t, "", func() error {
		if err := ready.Load(); err != nil {
			return *err
		}
		return nil
	})
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)

	for _, args := range [][]string{
		{"--address=" + address},
		{"--web.listen-address=" + address},
		{"--web.listen-address=:" + port},
		{"--web.listen-address=0.0.0.0:" + port},
	} {
		code, stderr := check(t, args...)
		require.Equal(t, ExitOK, code, stderr)
		require.Empty(t, stderr)
	}
	t.Setenv("PROMGRPC_WEB_LISTEN_ADDRESS", address)
	code, stderr := check(t)
	require.Equal(t, ExitOK, code, stderr)

	reason := errors.New("nobody there")
	ready.Store(&reason)
	code, stderr = check(t)
	require.Equal(t, ExitFailure, code)
	require.Equal(t, "program: not ready: "+address+": 503 Service Unavailable: not ready: nobody there\n", stderr)
}

func TestHealthcheckFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // Takes connections, and says nothing.
	require.NoError(t, err)
	defer l.Close()
	cases := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"nobody", []string{"--address=127.0.0.1:1"}, ExitFailure, "127.0.0.1:1 does not answer: dial tcp 127.0.0.1:1: connect: connection refused"},
		{"silent", []string{"--address=" + l.Addr().String(), "--timeout=50ms"}, ExitFailure, "context deadline exceeded"},
		{"any port", []string{"--web.listen-address=127.0.0.1:0"}, ExitUsage, "give --address"},
		{"no port", []string{"--address=localhost"}, ExitUsage, "want host:port"},
		{"argument", []string{"nope"}, ExitUsage, "unexpected nope"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			code, stderr := check(t, c.args...)
			require.Equal(t, c.code, code)
			require.Contains(t, stderr, c.want)
		})
	}
}

// A program is asked whatever its web config file wants of others.
func TestHealthcheckWithWebConfig(t *testing.T) {
	dir := t.TempDir()
	a, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	require.NoError(t, a.Pair().Write(dir, "cert"))
	tls := "tls_server_config:\n  cert_file: cert.pem\n  key_file: cert-key.pem\n"
	// The password is "secret".
	auth := "basic_auth_users:\n  me: $2a$04$JqqOmQikhASfJjGM8aoK/uLdzSIdWKcE4O9KeTYKoIeKnEkOmtKWC\n"
	mutual := "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: cert.pem\n"
	for name, text := range map[string]string{"auth": auth, "tls": tls, "tls and auth": tls + auth, "mutual tls": tls + mutual} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name+".yml")
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			address := "--address=" + startOps(t, file, func() error { return nil })
			code, stderr := check(t, address)
			if strings.Contains(text, mutual) {
				require.Equal(t, ExitFailure, code)
				require.Contains(t, stderr, "certificate required")
				code, stderr = check(t, address, "--cert-file="+filepath.Join(dir, "cert.pem"), "--key-file="+filepath.Join(dir, "cert-key.pem"))
			}
			require.Equal(t, ExitOK, code, stderr)
		})
	}
	code, stderr := check(t, "--address=127.0.0.1:1", "--cert-file="+filepath.Join(dir, "cert.pem"))
	require.Equal(t, ExitUsage, code)
	require.Contains(t, stderr, "--key-file")
}

// With the flags of the program, it is asked by what it speaks, so that its log does
// not fill with handshakes that failed.
func TestHealthcheckLeavesNoTrace(t *testing.T) {
	dir := t.TempDir()
	a, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	require.NoError(t, a.Pair().Write(dir, "cert"))
	for name, text := range map[string]string{"cleartext": "", "TLS": "tls_server_config:\n  cert_file: cert.pem\n  key_file: cert-key.pem\n"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name+".yml")
			require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
			var log syncBuffer
			w, err := NewOps(onAnyPort(file), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})), prometheus.NewRegistry(), func() error { return nil })
			require.NoError(t, err)
			stop := runWeb(t, w)
			t.Setenv("PROMGRPC_WEB_CONFIG_FILE", file)
			code, stderr := check(t, "--web.listen-address="+w.Addr().String())
			require.Equal(t, ExitOK, code, stderr)
			stop()
			require.NotContains(t, log.String(), "handshake")
		})
	}
}

func TestRunsWithoutCommand(t *testing.T) {
	for _, args := range [][]string{nil, {"run"}, {"--some.flag-name=x"}, {"run", "--some.flag-name=x"}} {
		ran := false
		p, _, _ := program(func(context.Context, *Env, string) error { ran = true; return nil }, args...)
		require.Equal(t, ExitOK, p.Run(t.Context()))
		require.True(t, ran)
	}
}
