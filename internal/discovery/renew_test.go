package discovery

import (
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/authority"
)

// tokenFile sets CONSUL_HTTP_TOKEN_FILE. What it returns renews the file.
func tokenFile(t *testing.T) func(token string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) { require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600)) }
	write("one")
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", file)
	return write
}

// The token is rotated, in either order. The instance is registered again with it,
// since Consul spreads what it is told with the token of the registration; reports and
// the farewell go on.
func TestRenewedToken(t *testing.T) {
	for name, rotate := range map[string]func(a *agent, write func(string), l *life){
		"file first": func(a *agent, write func(string), _ *life) { write("two"); a.want("two") },
		"file last": func(a *agent, write func(string), l *life) {
			a.want("two")
			eventually(t, "said", func() bool { return l.log.has("403") })
			write("two")
		},
		"file broken meanwhile": func(a *agent, write func(string), l *life) {
			write("")
			eventually(t, "said", func() bool { return l.log.has("cannot be reloaded, the last value stays in use") })
			write("two")
			a.want("two")
		},
	} {
		t.Run(name, func(t *testing.T) {
			write := tokenFile(t)
			a := startAgent(t, "127.0.0.1:0")
			a.want("one")
			l := live(t, a.address)
			eventually(t, "registered", func() bool { return a.get(lifeID) != nil })
			rotate(a, write, l)
			eventually(t, "registered again", func() bool {
				a.mu.Lock()
				defer a.mu.Unlock()
				return a.requests["register"] == 2
			})
			l.fail("empty")
			eventually(t, "reported", func() bool { return a.check(lifeID+":self") == "critical" })
			write("three")
			a.want("three")
			l.stop()
			require.Nil(t, a.get(lifeID))
			require.True(t, l.log.has("deregistered from consul"))
		})
	}
}

// Who waits for a change notices nothing of a token that is rotated meanwhile.
func TestRenewedTokenWhileWaiting(t *testing.T) {
	write := tokenFile(t)
	a := startAgent(t, "127.0.0.1:0")
	a.want("one")
	a.set(entry("a", "192.0.2.1:1", ""))
	var log syncBuffer
	ch := watch(t, "consul://"+a.address+"/s", Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.Len(t, next(t, ch), 1)
	a.want("two")
	write("two")
	a.set(entry("a", "192.0.2.1:1", ""), entry("b", "192.0.2.2:1", ""))
	require.Len(t, next(t, ch), 2)
	a.set(entry("b", "192.0.2.2:1", ""))
	require.Len(t, next(t, ch), 1)
	require.NotContains(t, log.String(), "discovery fails")
}

// A request that is forbidden is made again at once, with its body, if the token was
// renewed on its way.
func TestForbiddenOnce(t *testing.T) {
	write := tokenFile(t)
	var bodies []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		if r.Header.Get("X-Consul-Token") == "one" {
			write("two")
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer s.Close()
	a, err := newConsulAgent(s.URL, nil)
	require.NoError(t, err)
	defer a.transport.CloseIdleConnections()
	require.NoError(t, a.Agent().UpdateTTL("check", "output", "passing"))
	require.Len(t, bodies, 2)
	require.Contains(t, bodies[0], "output")
	require.Equal(t, bodies[0], bodies[1])
}

// An agent with TLS gets a certificate of another authority, whose file is renewed.
func TestRenewedAuthorityOfConsul(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer s.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	stranger, err := authority.New("stranger", time.Hour)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, stranger.Cert(), 0o600))
	t.Setenv("CONSUL_CACERT", file)
	a, err := newConsulAgent(s.URL, nil)
	require.NoError(t, err)
	defer a.transport.CloseIdleConnections()
	require.ErrorContains(t, a.Agent().UpdateTTL("check", "", "passing"), "certificate")
	require.NoError(t, os.WriteFile(file, ca, 0o600))
	require.NoError(t, a.Agent().UpdateTTL("check", "", "passing"))
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.Error(t, a.reload())
	a.transport.CloseIdleConnections()
	require.NoError(t, a.Agent().UpdateTTL("check", "", "passing"), "what was before stays")
}

func TestAgentAddresses(t *testing.T) {
	for at, want := range map[string]agentAddress{
		"a":                     {network: "tcp", host: "a:8500"},
		"a:1":                   {network: "tcp", host: "a:1"},
		"::1":                   {network: "tcp", host: "[::1]:8500"},
		"http://a":              {network: "tcp", host: "a:80"},
		"http://a:8500/":        {network: "tcp", host: "a:8500"},
		"http://a:8500/x/y":     {network: "tcp", host: "a:8500", prefix: "/x/y"},
		"https://a":             {network: "tcp", scheme: "https", host: "a:443"},
		"https://[::1]:8501":    {network: "tcp", scheme: "https", host: "[::1]:8501"},
		"unix:///run/consul.so": {network: "unix", path: "/run/consul.so", host: "localhost"},
	} {
		got, err := parseAgent(at)
		require.NoError(t, err, at)
		require.Equal(t, want, got, at)
	}
	for _, at := range []string{"a:b", "a b", "http://", "https://a:0", "unix://", "ftp://a", "http://a b", "user@a"} {
		_, err := parseAgent(at)
		require.Error(t, err, at)
	}
}

// An instance is registered whatever the agent is called, also by the variable of
// Consul's own, where that counts.
func TestNamesOfAgents(t *testing.T) {
	a := startAgent(t, "127.0.0.1:0")
	file := filepath.Join(t.TempDir(), "consul.sock")
	l, err := net.Listen("unix", file)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { defer close(done); _ = a.server.Serve(l) }()
	t.Cleanup(func() { a.stop(); <-done })
	for _, name := range []string{a.address, "http://" + a.address, "http://" + a.address + "/", "unix://" + file} {
		l := liveAt(t, ConsulConfig{Consul: name, AdvertiseAddress: "127.0.0.1"})
		eventually(t, "registered by "+name, func() bool { return a.get(lifeID) != nil })
		l.stop()
		require.Nil(t, a.get(lifeID))

		t.Setenv("CONSUL_HTTP_ADDR", name)
		a.set(entry("a", "192.0.2.1:1", ""))
		require.Len(t, next(t, watch(t, "consul:///s", Options{})), 1)
		a.set()
	}
}
