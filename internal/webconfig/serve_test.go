package webconfig

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/authority"
	"github.com/promgrpc/exporter/internal/identity"
	"github.com/promgrpc/exporter/internal/throttle"
)

// serve serves who calls to whoever is let in, and returns the address.
func serve(t *testing.T, c *Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	guard := &Guard{
		Config: c,
		Next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = json.NewEncoder(w).Encode(answer{ID: identity.Of(r.Context()), TLS: r.TLS != nil})
		}),
		Open:   func(r *http.Request) bool { return r.URL.Path == "/open" },
		Peer:   func(r *http.Request) string { return r.RemoteAddr },
		Refuse: func(w http.ResponseWriter, _ *http.Request, r *Refused) { http.Error(w, r.Err.Error(), r.Status) },
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Handler: WithTLS(guard), Protocols: protocols, ConnContext: ConnContext, ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(c.Listener(l)) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
	return l.Addr().String()
}

type answer struct {
	ID     identity.Identity
	TLS    bool
	proto  string
	status int
	text   string
	header http.Header
}

// caller calls an address.
type caller struct {
	address string
	scheme  string
	client  *http.Client
}

func newCaller(t *testing.T, address string, config *tls.Config, http2 bool) *caller {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetHTTP2(http2)
	transport.Protocols.SetUnencryptedHTTP2(http2 && config == nil)
	t.Cleanup(transport.CloseIdleConnections)
	c := &caller{address: address, scheme: "http", client: &http.Client{Transport: transport}}
	if config != nil {
		c.scheme = "https"
	}
	return c
}

func (c *caller) get(path string, change func(*http.Request)) (answer, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, c.scheme+"://"+c.address+path, nil)
	if err != nil {
		return answer{}, err
	}
	if change != nil {
		change(r)
	}
	response, err := c.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	a := answer{proto: response.Proto, status: response.StatusCode, text: string(body), header: response.Header}
	_ = json.Unmarshal(body, &a)
	return a, err
}

func (f *folder) clientTLS(pair *authority.Pair) *tls.Config {
	f.t.Helper()
	pool := x509.NewCertPool()
	require.True(f.t, pool.AppendCertsFromPEM(f.ca.Cert()))
	c := &tls.Config{RootCAs: pool}
	if pair != nil {
		mine, err := pair.TLS()
		require.NoError(f.t, err)
		c.Certificates = []tls.Certificate{mine}
	}
	return c
}

// One port speaks HTTP/1.1 and HTTP/2, with TLS and without, and says who calls.
func TestProtocols(t *testing.T) {
	f := newFolder(t)
	mine := f.issue("me", "spiffe://test/me")
	for _, test := range []struct {
		name, text string
		client     *tls.Config
		names      []string
	}{
		{"cleartext", "{}", nil, nil},
		{"TLS", withTLS, f.clientTLS(nil), nil},
		{"TLS and a certificate that nobody asked for", withTLS, f.clientTLS(mine), nil},
		{"mutual TLS", withMTLS, f.clientTLS(mine), []string{"spiffe://test/me"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := Open("--web.config.file", f.write("web.yml", test.text), slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			address := serve(t, c)
			for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
				a, err := newCaller(t, address, test.client, http2).get("/", func(r *http.Request) { r.Header.Set("Authorization", "bearer abc") })
				require.NoError(t, err)
				require.Equal(t, proto, a.proto)
				require.Equal(t, test.client != nil, a.TLS)
				require.Equal(t, identity.Identity{Names: test.names, Token: "abc"}, a.ID)
			}
		})
	}
	c, err := Open("--web.config.file", f.write("web.yml", withTLS+"http_server_config:\n  http2: false\n"), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Equal(t, []string{"http/1.1"}, c.TLS().NextProtos)
}

// Who is let in by certificate.
func TestCertificates(t *testing.T) {
	f := newFolder(t)
	other := &folder{t: t, dir: t.TempDir(), ca: newAuthority(t)}
	const sans = "  client_allowed_sans: [spiffe://test/me]\n"
	ifGiven := withCA + "  client_auth_type: VerifyClientCertIfGiven\n"
	for _, test := range []struct {
		name, text string
		pair       *authority.Pair
		in         bool
	}{
		{"one of the CA", withMTLS, f.issue("a", "a"), true},
		{"none", withMTLS, nil, false},
		{"one of another CA", withMTLS, other.issue("a", "a"), false},
		{"an allowed name", withMTLS + sans, f.issue("me", "spiffe://test/me"), true},
		{"a name that is not", withMTLS + sans, f.issue("a", "spiffe://test/a"), false},
		{"none where one is wanted", ifGiven + sans, nil, true},
		{"a name that is not where one is wanted", ifGiven + sans, f.issue("a", "spiffe://test/a"), false},
		{"another CA where one is wanted", ifGiven, other.issue("a", "a"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			c, err := Open("--web.config.file", f.write("web.yml", test.text), slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			c.Register(reg)
			address := serve(t, c)
			for _, http2 := range []bool{false, true} {
				config := f.clientTLS(nil)
				if test.pair != nil { // also to a CA that did not issue it
					mine := f.clientTLS(test.pair).Certificates[0]
					config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &mine, nil }
				}
				a, err := newCaller(t, address, config, http2).get("/", nil)
				if test.in {
					require.NoError(t, err)
					require.Equal(t, http.StatusOK, a.status)
					continue
				}
				require.Error(t, err)
			}
			if !test.in {
				failed := func() float64 { return testutil.ToFloat64(c.failed) }
				require.Eventually(t, func() bool { return failed() >= 2 }, 30*time.Second, time.Millisecond)
				n, err := testutil.GatherAndCount(reg, "promgrpc_tls_handshake_failures_total")
				require.NoError(t, err)
				require.Equal(t, 1, n)
			}
		})
	}
}

// A session that is resumed is one of those who may call now.
func TestResumedSessions(t *testing.T) {
	f := newFolder(t)
	const sans = "  client_allowed_sans: [spiffe://test/me]\n"
	c, err := Open("--web.config.file", f.write("web.yml", withMTLS+sans), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	address := serve(t, c)
	config := f.clientTLS(f.issue("me", "spiffe://test/me"))
	config.ClientSessionCache = tls.NewLRUClientSessionCache(10)
	call := func() error {
		_, err := newCaller(t, address, config, false).get("/", nil)
		return err
	}
	require.NoError(t, call())
	require.NoError(t, call())
	f.write("web.yml", withMTLS+strings.ReplaceAll(sans, "me", "other"))
	require.Error(t, call())
	f.write("web.yml", withMTLS+sans)
	require.NoError(t, call())
	f.write("ca.pem", string(newAuthority(t).Cert()))
	require.Error(t, call())
}

// Who says nothing holds up nobody; who speaks no TLS is told, and told of a few times.
func TestHandshakesThatFail(t *testing.T) {
	f := newFolder(t)
	var log logged
	c, err := Open("--web.config.file", f.write("web.yml", withTLS), log.logger())
	require.NoError(t, err)
	address := serve(t, c)
	silent, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer silent.Close()
	cleartext := newCaller(t, address, nil, false)
	const times = 3 * throttle.Burst
	for range times {
		a, err := cleartext.get("/", nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusBadRequest, a.status)
		require.Contains(t, a.text, "HTTPS server")
	}
	require.EqualValues(t, times, testutil.ToFloat64(c.failed))
	require.Equal(t, throttle.Burst, log.count(`msg="tls handshake failed" flag=--web.config.file`))
	looks, err := net.Dial("tcp", address)
	require.NoError(t, err)
	require.NoError(t, looks.Close())
	a, err := newCaller(t, address, f.clientTLS(nil), true).get("/", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, a.status)
	require.EqualValues(t, times, testutil.ToFloat64(c.failed), "who looks whether a port is open does no harm")
}

// Who is let in by password, and what answers say.
func TestGuard(t *testing.T) {
	f := newFolder(t)
	users := usersOf(t, map[string]string{"me": "secret"})
	const headers = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n"
	path := f.write("web.yml", users+headers)
	c, err := Open("--web.config.file", path, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	calls := newCaller(t, serve(t, c), nil, false)
	get := func(path, authorization string) answer {
		t.Helper()
		a, err := calls.get(path, func(r *http.Request) {
			if authorization != "" {
				r.Header.Set("Authorization", authorization)
			}
		})
		require.NoError(t, err)
		require.Equal(t, "deny", a.header.Get("X-Frame-Options"))
		require.Equal(t, a.status == http.StatusUnauthorized, a.header.Get("WWW-Authenticate") != "")
		return a
	}
	right, wrong := "Basic bWU6c2VjcmV0", "Basic bWU6d3Jvbmc="
	require.Equal(t, "me", get("/", right).ID.User)
	require.Equal(t, http.StatusUnauthorized, get("/", wrong).status)
	require.Equal(t, errWrong.Error()+"\n", get("/", wrong).text)
	require.Equal(t, errNone.Error()+"\n", get("/", "").text)
	require.Equal(t, http.StatusUnauthorized, get("/", "Bearer abc").status)
	require.Equal(t, http.StatusOK, get("/open", wrong).status)
	require.Empty(t, get("/open", wrong).ID.User, "it was not proved")
	c.LetTokensPass(func(r *http.Request) bool { return r.URL.Path != "/other" })
	require.Equal(t, "abc", get("/", "Bearer abc").ID.Token)
	require.Equal(t, http.StatusUnauthorized, get("/", "Bearer ").status)
	require.Equal(t, http.StatusUnauthorized, get("/other", "Bearer abc").status, "nobody proves it there")

	limited := users + headers + "rate_limit:\n  interval: 1h\n  burst: 2\n"
	f.write("web.yml", limited)
	require.Equal(t, http.StatusOK, get("/", right).status)
	require.Equal(t, http.StatusOK, get("/", right).status)
	require.Equal(t, http.StatusTooManyRequests, get("/", right).status)
	require.Equal(t, http.StatusOK, get("/open", "").status)
	f.write("web.yml", "# changed\n"+limited)
	require.Equal(t, http.StatusTooManyRequests, get("/", right).status, "the rate is the same")

	withoutUsers, err := Open("--web.config.file", f.write("none.yml", headers), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	calls = newCaller(t, serve(t, withoutUsers), nil, false)
	require.Empty(t, get("/", right).ID.User, "nobody proved a password")
}

// What is meant as a credential is one, or the request is refused: it is not served as
// somebody else's, or nobody's.
func TestCredentialsAreNotPassedOver(t *testing.T) {
	f := newFolder(t)
	for _, text := range []string{"{}", usersOf(t, map[string]string{"me": "secret"})} {
		c, err := Open("--web.config.file", f.write("web.yml", text), slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		c.LetTokensPass(func(*http.Request) bool { return true })
		calls := newCaller(t, serve(t, c), nil, false)
		for want, headers := range map[error][]string{
			errNoToken: {"Bearer "},
			errSeveral: {"Bearer abc", "Bearer def"},
			nil:        {"bearer  abc "},
		} {
			a, err := calls.get("/", func(r *http.Request) { r.Header["Authorization"] = headers })
			require.NoError(t, err)
			if want == nil {
				require.Equal(t, "abc", a.ID.Token)
				continue
			}
			require.Equal(t, http.StatusUnauthorized, a.status, headers)
			require.Equal(t, want.Error()+"\n", a.text)
		}
		for _, other := range []string{"Basic bWU6d3Jvbmc=", "Digest abc", "Bearer\tabc", "Bearerabc", ""} {
			a, err := calls.get("/", func(r *http.Request) { r.Header["Authorization"] = []string{other} })
			require.NoError(t, err)
			if text != "{}" {
				require.Equal(t, http.StatusUnauthorized, a.status, other)
				continue
			}
			require.True(t, a.ID.Unproved, other)
			require.Empty(t, a.ID.Token)
		}
		a, err := calls.get("/", func(*http.Request) {})
		require.NoError(t, err)
		require.False(t, a.ID.Unproved)
	}
}

// Too many passwords at once are refused for now, not for good.
func TestGuardSaysLater(t *testing.T) {
	f := newFolder(t)
	c, err := Open("--web.config.file", f.write("web.yml", usersOf(t, map[string]string{"me": "secret"})), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	c.LimitChecks(1, 1)
	slot := c.password.checks.Hold("somebody")
	require.NoError(t, slot.Resize(1))
	a, err := newCaller(t, serve(t, c), nil, false).get("/", func(r *http.Request) { r.SetBasicAuth("me", "secret") })
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, a.status)
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Contains(t, a.text, FlagPasswordChecks)
}
