//go:build debian

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// guarded answers callers that have a credential.
type guarded struct {
	quiet
	want     atomic.Pointer[string]
	requests atomic.Int32
}

func (g *guarded) GetMetrics(ctx context.Context, req *connect.Request[metricsv1.GetMetricsRequest], stream *connect.ServerStream[metricsv1.GetMetricsResponse]) error {
	g.requests.Add(1)
	if req.Header().Get("Authorization") != *g.want.Load() {
		return connect.NewError(connect.CodeUnauthenticated, errText("this server wants another token"))
	}
	return g.quiet.GetMetrics(ctx, req, stream)
}

type errText string

func (e errText) Error() string { return string(e) }

// serveTLS serves a script over TLS, and wants certificates of an authority if that is given.
func serveTLS(t *testing.T, script metricsv1connect.MetricsServiceHandler, certs certificates, clients *x509.CertPool) (address string) {
	t.Helper()
	certificate, err := tls.LoadX509KeyPair(certs.issue("server", "server.example"))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(metricsv1connect.NewMetricsServiceHandler(script))
	server := httptest.NewUnstartedServer(mux)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	if clients != nil {
		server.TLS.ClientAuth, server.TLS.ClientCAs = tls.RequireAndVerifyClientCert, clients
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// TestPythonCredentials has the example of clients/python say who it is.
func TestPythonCredentials(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certs := newCertificates(t, dir)
	cert, key := certs.issue("me", "spiffe://promgrpc/me")
	const bearer, basic = "Bearer secret", "Basic YW5uOnNlY3JldA=="
	secret, wrong := file("secret", "secret\n"), file("wrong", "wrong-secret\n")
	byToken, byPassword := []string{"--bearer-token-file=" + secret}, []string{"--basic-auth-user=ann", "--basic-auth-password-file=" + secret}
	overTLS := []string{"--tls-ca-file=" + certs.authority(), "--tls-server-name=server.example"}
	for name, c := range map[string]struct {
		want string
		tls  bool
		mTLS bool
		far  bool // the address is not known to be this machine's
		args [][]string
		code int
		says string
	}{
		"token":             {want: bearer, args: [][]string{byToken}},
		"token, TLS":        {want: bearer, tls: true, args: [][]string{byToken, overTLS}},
		"password, TLS":     {want: basic, tls: true, args: [][]string{byPassword, overTLS}},
		"password":          {want: basic, args: [][]string{byPassword}},
		"certificate":       {tls: true, mTLS: true, args: [][]string{overTLS, {"--tls-cert-file=" + cert, "--tls-key-file=" + key}}},
		"no certificate":    {tls: true, mTLS: true, args: [][]string{overTLS}, code: 3, says: "cannot reach"},
		"another authority": {tls: true, args: [][]string{{"--tls"}}, code: 3, says: "cannot reach"},
		"another name":      {tls: true, args: [][]string{{"--tls-ca-file=" + certs.authority()}}, code: 3, says: "cannot reach"},
		"wrong token":       {want: bearer, args: [][]string{{"--bearer-token-file=" + wrong}}, code: 1, says: "UNAUTHENTICATED: this server wants another token"},
		"in the clear":      {want: bearer, far: true, args: [][]string{byToken}, code: 2, says: "is not sent in the clear"},
		"allowed":           {want: bearer, far: true, args: [][]string{byToken, {"--allow-cleartext-credentials"}}},
		"two credentials":   {args: [][]string{byToken, byPassword}, code: 2, says: "exclude each other"},
		"no file":           {args: [][]string{{"--bearer-token-file=" + filepath.Join(dir, "none")}}, code: 2, says: "No such file"},
	} {
		t.Run(name, func(t *testing.T) {
			script := &guarded{}
			script.want.Store(&c.want)
			var clients *x509.CertPool
			if c.mTLS {
				clients = certs.pool()
			}
			var address string
			if c.tls {
				address = serveTLS(t, script, certs, clients)
			} else {
				address = serveScript(t, script)
			}
			if c.far {
				_, port, err := net.SplitHostPort(address)
				if err != nil {
					t.Fatal(err)
				}
				address = net.JoinHostPort("0.0.0.0", port)
			}
			args := []string{"--address=" + address}
			for _, more := range c.args {
				args = append(args, more...)
			}
			code, _, stderr := followPython(t, args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, stderr)
			}
			contains(t, stderr, c.says)
			if text := string(stderr); strings.Contains(text, "secret\"") || strings.Contains(text, "Traceback") {
				t.Errorf("a traceback, or a secret: %s", text)
			}
			if c.code == 2 && script.requests.Load() > 0 {
				t.Error("something was sent")
			}
		})
	}
}

// TestPythonRenewedToken has a server refuse a token that is renewed just then.
func TestPythonRenewedToken(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		if err := os.WriteFile(token, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("old")
	script := renewing{guarded: &guarded{}, renew: func() { write("new") }}
	want := "Bearer new"
	script.want.Store(&want)
	if code, _, stderr := followPython(t, "--address="+serveScript(t, script), "--bearer-token-file="+token); code != 0 || script.requests.Load() != 2 {
		t.Errorf("exit code %d after %d requests: %s", code, script.requests.Load(), stderr)
	}
}

// renewing renews a token while it is refused.
type renewing struct {
	*guarded
	renew func()
}

func (r renewing) GetMetrics(ctx context.Context, req *connect.Request[metricsv1.GetMetricsRequest], stream *connect.ServerStream[metricsv1.GetMetricsResponse]) error {
	r.renew()
	return r.guarded.GetMetrics(ctx, req, stream)
}

// TestPythonCursorFile has the example say what is wrong with its cursor file.
func TestPythonCursorFile(t *testing.T) {
	t.Parallel()
	address := "--address=" + serveScript(t, quiet{})
	for name, c := range map[string]struct {
		prepare func(path string) error
		says    string
	}{
		"not writable": {func(path string) error { return os.Mkdir(path+".new", 0o700) }, "Is a directory"},
		"a folder":     {func(path string) error { return os.Mkdir(path, 0o700) }, "Is a directory"},
		"something":    {func(path string) error { return os.WriteFile(path, []byte("\xff"), 0o600) }, "it has no cursor"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "cursor")
			if err := c.prepare(path); err != nil {
				t.Fatal(err)
			}
			code, _, stderr := followPython(t, address, "--cursor-file="+path)
			if code != 1 || strings.Contains(string(stderr), "Traceback") {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			contains(t, stderr, "--cursor-file "+path+": "+c.says)
		})
	}
}
