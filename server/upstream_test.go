package server_test

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/authority"
	"github.com/promgrpc/exporter/internal/credential"
	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server"
)

// door is a proxy before a server that lets in who has a credential.
type door struct {
	*httptest.Server
	want atomic.Pointer[string]
}

func (d *door) lets(credential string) { d.want.Store(&credential) }

// newDoor stands before a server, with TLS if there is a pair.
func newDoor(t *testing.T, s *instance, pair *authority.Pair) *door {
	t.Helper()
	behind, err := url.Parse("http://" + s.RPCAddr().String())
	require.NoError(t, err)
	client, stop := httpClient(true)
	t.Cleanup(stop)
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.Transport, proxy.FlushInterval = client.Transport, -1
	proxy.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	d := &door{}
	d.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if want := d.want.Load(); want != nil && r.Header.Get(credential.Header) != *want {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	d.Config.ErrorLog = proxy.ErrorLog
	t.Cleanup(d.Close)
	if pair == nil {
		d.Config.Protocols = new(http.Protocols)
		d.Config.Protocols.SetUnencryptedHTTP2(true)
		d.Start()
		return d
	}
	d.EnableHTTP2, d.TLS = true, serverTLS(t, pair)
	d.StartTLS()
	return d
}

// logs waits until a log has a text.
func logs(t *testing.T, s *instance, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(s.log.String(), text) }, patience, 10*time.Millisecond, text)
}

// A relay shows a token from a file, or a password. While that is refused it is not
// ready, says so, and tries again once the file has changed.
func TestRelayShowsWhoItIs(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	top := startFed(t, testConfig(t), src)
	ca, pem := newAuthority(t)
	pair, err := ca.Issue(authority.Request{Names: []string{"127.0.0.1"}})
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		pair         *authority.Pair
		user         string
		first, later string // what the door wants, of the files' contents below
	}{
		"token":                {first: "Bearer one", later: "Bearer two"},
		"token over TLS":       {pair: pair, first: "Bearer one", later: "Bearer two"},
		"password over TLS":    {pair: pair, user: "relay", first: "Basic cmVsYXk6b25l", later: "Basic cmVsYXk6dHdv"},
		"password to loopback": {user: "relay", first: "Basic cmVsYXk6b25l", later: "Basic cmVsYXk6dHdv"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "secret")
			require.NoError(t, os.WriteFile(file, []byte("one\n"), 0o600))
			front := newDoor(t, top, tc.pair)
			front.lets(tc.later)
			c := testConfig(t)
			c.Upstream = front.Listener.Addr().String()
			if c.UpstreamFlags.Token = file; tc.user != "" {
				c.UpstreamFlags.Files = credential.Files{User: tc.user, Password: file}
			}
			if tc.pair != nil {
				c.UpstreamFlags.TLSFiles.CA = pem
			}
			relay := start(t, c)
			logs(t, relay, "upstream does not let this relay read")
			require.ErrorContains(t, relay.Ready(), "no upstream lets this relay read")
			require.NotContains(t, relay.log.String(), strings.Fields(tc.first)[1])
			pause := regexp.MustCompile(`does not let this relay read.*retry_in=(\S+)`).FindStringSubmatch(relay.log.String())
			require.NotEmpty(t, pause)
			long, err := time.ParseDuration(pause[1])
			require.NoError(t, err)
			require.Greater(t, long, 10*time.Second, "one attempt, then a long pause")

			require.NoError(t, os.WriteFile(file, []byte("two\n"), 0o600))
			relay.await(t, src)
			require.NoError(t, relay.Ready())
		})
	}
}

// A relay does not send its credential where others could read it.
func TestRelayInTheClear(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	front := newDoor(t, startFed(t, testConfig(t), src), nil)
	front.lets("Bearer one")
	c := testConfig(t)
	_, port, err := net.SplitHostPort(front.Listener.Addr().String())
	require.NoError(t, err)
	c.Upstream = net.JoinHostPort("0.0.0.0", port) // not known to be this machine
	c.UpstreamFlags.Token = filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(c.UpstreamFlags.Token, []byte("one"), 0o600))
	_, err = server.New(c, slog.New(slog.DiscardHandler), nil)
	var mistake *usage.Error
	require.ErrorAs(t, err, &mistake)
	require.ErrorContains(t, err, "Authorization is not sent in the clear")
	require.ErrorContains(t, err, "--allow-cleartext-credentials")

	c.UpstreamFlags.AllowCleartext = true
	c.StoragePath = t.TempDir()
	start(t, c).await(t, src)
}

// The log says why an upstream was lost, in its own words.
func TestRelayLogsAReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0) // so that its end is a reset
			_ = conn.Close()
		}
	}()
	c := testConfig(t)
	c.Upstream = l.Addr().String()
	relay := start(t, c)
	logs(t, relay, "connection reset by peer")
	require.NotContains(t, relay.log.String(), "canceled")
	require.NotContains(t, relay.log.String(), "Post")
}

// newAuthority makes an authority, with its certificate in a file.
func newAuthority(t *testing.T) (*authority.Authority, string) {
	t.Helper()
	ca, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, ca.Cert(), 0o600))
	return ca, file
}

func serverTLS(t *testing.T, pair *authority.Pair) *tls.Config {
	t.Helper()
	certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{certificate}}
}

// Where certificates say who a server is, a relay reads from servers alone: not from
// whoever else has a certificate of the authority, or of another one, or none. The role
// takes the place of the host's name, as servers that a directory names have none.
func TestRelayReadsFromServersAlone(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	top := startFed(t, testConfig(t), src)
	ca, pem := newAuthority(t)
	others, _ := newAuthority(t)
	for name, tc := range map[string]struct {
		by    *authority.Authority
		names []string
		roles string
		says  string // "" is for a server that is read from
	}{
		"a server":                      {by: ca, names: []string{"spiffe://promgrpc/server"}, roles: "server"},
		"a server by its address":       {by: ca, names: []string{"127.0.0.1"}},
		"a forwarder":                   {by: ca, names: []string{"spiffe://promgrpc/forwarder"}, roles: "server", says: "does not name as a server"},
		"a stranger by its address":     {by: ca, names: []string{"127.0.0.1"}, roles: "server", says: "does not name as a server"},
		"a server of another authority": {by: others, names: []string{"spiffe://promgrpc/server"}, roles: "server", says: "certificate signed by unknown authority"},
		"no role, of another name":      {by: ca, names: []string{"spiffe://promgrpc/server"}, says: "doesn't contain any IP SANs"},
		"no TLS":                        {roles: "server", says: "upstream lost"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var pair *authority.Pair
			if tc.by != nil {
				var err error
				pair, err = tc.by.Issue(authority.Request{Names: tc.names})
				require.NoError(t, err)
			}
			front := newDoor(t, top, pair)
			var known directory
			c := testConfig(t)
			c.Upstream = known.start(t)
			c.UpstreamFlags.TLSFiles.CA = pem
			if tc.roles != "" {
				c.AccessFile = filepath.Join(t.TempDir(), "access.yml")
				require.NoError(t, os.WriteFile(c.AccessFile, []byte("roles: {"+tc.roles+": [spiffe://promgrpc/server]}\n"), 0o600))
			}
			relay := start(t, c)
			known.name(front.Listener.Addr())
			if tc.says == "" {
				relay.await(t, src)
				return
			}
			logs(t, relay, tc.says)
			require.NotContains(t, relay.log.String(), "upstream connected")
			status, err := connectClient(t, relay.RPCAddr().String(), false).GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
			require.NoError(t, err)
			require.Empty(t, status.Msg.GetLogs())
		})
	}
}

// Roles without TLS are a mistake.
func TestRelayHasRolesWithoutTLS(t *testing.T) {
	c := testConfig(t)
	c.Upstream = "127.0.0.1:1"
	c.AccessFile = filepath.Join(t.TempDir(), "access.yml")
	require.NoError(t, os.WriteFile(c.AccessFile, []byte("roles: {server: [spiffe://promgrpc/server]}\n"), 0o600))
	_, err := server.New(c, slog.New(slog.DiscardHandler), nil)
	var mistake *usage.Error
	require.ErrorAs(t, err, &mistake)
	require.ErrorContains(t, err, "--tls-ca-file")
}

// A relay reads from a server that asks for its certificate, or for a token over TLS, if
// that has the right to the logs.
func TestRelayOfASecuredServer(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	ca, pem := newAuthority(t)
	for _, part := range []string{"server", "relay", "reader"} {
		pair, err := ca.Issue(authority.Request{Names: []string{"spiffe://promgrpc/" + part}})
		require.NoError(t, err)
		require.NoError(t, pair.Write(dir, part))
	}
	roles := file("roles.yml", "roles: {server: [spiffe://promgrpc/server]}\n")
	file("relay.token", "of-the-relay")
	file("reader.token", "of-a-reader")
	config := testConfig(t)
	config.RPCConfigFile = file("web.yml", `tls_server_config: {cert_file: server.pem, key_file: server-key.pem, client_ca_file: `+pem+`, client_auth_type: VerifyClientCertIfGiven}`)
	access := `
policies:
- {name: relays, certificates: [spiffe://promgrpc/relay], token_files: [relay.token], read: {logs: true}}
- {name: readers, certificates: [spiffe://promgrpc/reader], token_files: [reader.token], read: {}}
`
	config.AccessFile = file("access.yml", access)
	top := startFed(t, config, src)
	relayWith := func(t *testing.T, certificate, token string) *instance {
		t.Helper()
		c := testConfig(t)
		c.Upstream, c.AccessFile, c.UpstreamFlags.TLSFiles.CA = top.RPCAddr().String(), roles, pem
		if certificate != "" {
			c.UpstreamFlags.TLSFiles.Cert, c.UpstreamFlags.TLSFiles.Key = authority.Files(dir, certificate)
		}
		if token != "" {
			c.UpstreamFlags.Token = filepath.Join(dir, token)
		}
		return start(t, c)
	}
	for name, tc := range map[string]struct {
		certificate, token string
		says               string // "" is for a relay that is let in
	}{
		"certificate":             {certificate: "relay"},
		"token":                   {token: "relay.token"},
		"certificate of a reader": {certificate: "reader", says: "policy readers does not have"},
		"token of a reader":       {certificate: "relay", token: "reader.token", says: "policy readers does not have"},
		"nothing":                 {says: "a credential is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			relay := relayWith(t, tc.certificate, tc.token)
			if tc.says == "" {
				relay.await(t, src)
				require.NoError(t, relay.Ready())
				return
			}
			logs(t, relay, tc.says)
			require.Contains(t, relay.log.String(), "upstream does not let this relay read")
			require.Error(t, relay.Ready())
		})
	}

	relay := relayWith(t, "relay", "")
	relay.await(t, src)
	file("access.yml", strings.ReplaceAll(access, "read: {logs: true}", "read: {}"))
	logs(t, relay, "upstream does not let this relay read")
	require.Error(t, relay.Ready(), "its right was taken away")
	require.Equal(t, uint64(1), relay.last(t, src), "it keeps what it has")
}
