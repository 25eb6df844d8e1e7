package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
	"github.com/promgrpc/exporter/internal/authority"
	"github.com/promgrpc/exporter/server"
)

const (
	rpcTLS  = "tls_server_config:\n  cert_file: server.pem\n  key_file: server-key.pem\n"
	rpcMTLS = rpcTLS + "  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"
	// The password is "secret".
	rpcUsers = "basic_auth_users:\n  me: $2a$04$JqqOmQikhASfJjGM8aoK/uLdzSIdWKcE4O9KeTYKoIeKnEkOmtKWC\n"
	right    = "Basic bWU6c2VjcmV0"
	wrong    = "Basic bWU6d3Jvbmc="
)

// certs is an authority with a folder for the files of a web configuration.
type certs struct {
	t   testing.TB
	dir string
	ca  *authority.Authority
}

func newCerts(t testing.TB) certs {
	t.Helper()
	ca, err := authority.New("test", time.Hour)
	require.NoError(t, err)
	c := certs{t, t.TempDir(), ca}
	require.NoError(t, c.pair("127.0.0.1").Write(c.dir, "server"))
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "ca.pem"), ca.Cert(), 0o600))
	return c
}

func (c certs) pair(names ...string) *authority.Pair {
	c.t.Helper()
	pair, err := c.ca.Issue(authority.Request{Names: names})
	require.NoError(c.t, err)
	return pair
}

// config of a server whose RPC port has a web configuration file.
func (c certs) config(text string) server.Config {
	c.t.Helper()
	config := testConfig(c.t)
	config.RPCConfigFile = filepath.Join(c.dir, "web.yml")
	require.NoError(c.t, os.WriteFile(config.RPCConfigFile, []byte(text), 0o600))
	return config
}

// client returns the TLS of a client, with a certificate unless pair is nil.
func (c certs) client(pair *authority.Pair) *tls.Config {
	c.t.Helper()
	pool := x509.NewCertPool()
	require.True(c.t, pool.AppendCertsFromPEM(c.ca.Cert()))
	config := &tls.Config{RootCAs: pool}
	if pair != nil {
		mine, err := pair.TLS()
		require.NoError(c.t, err)
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &mine, nil }
	}
	return config
}

// guest is who calls a server by all protocols.
type guest struct {
	tls           *tls.Config // nil: cleartext
	authorization string      // "": none
}

// RoundTrip implements [http.RoundTripper] for HTTP/1.1 or, with content of gRPC, HTTP/2.
func (g guest) RoundTrip(r *http.Request) (*http.Response, error) {
	return g.transport(r.Header.Get("Content-Type") == "application/grpc+proto").RoundTrip(g.sign(r))
}

func (g guest) sign(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	if g.authorization != "" {
		r.Header.Set("Authorization", g.authorization)
	}
	return r
}

func (g guest) transport(http2 bool) *http.Transport {
	p := new(http.Protocols)
	p.SetHTTP1(!http2)
	p.SetHTTP2(http2)
	p.SetUnencryptedHTTP2(http2 && g.tls == nil)
	return &http.Transport{Protocols: p, TLSClientConfig: g.tls.Clone(), DisableKeepAlives: true}
}

// overHTTP2 has other protocols than gRPC use HTTP/2, too.
type overHTTP2 struct{ guest }

// RoundTrip implements [http.RoundTripper].
func (g overHTTP2) RoundTrip(r *http.Request) (*http.Response, error) {
	return g.transport(true).RoundTrip(g.sign(r))
}

func (g guest) url(address string) string {
	if g.tls != nil {
		return "https://" + address
	}
	return "http://" + address
}

// calls makes a unary call and opens a stream by each protocol, and returns what comes of
// them.
func (g guest) calls(t *testing.T, address string) map[string]error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := map[string]error{}
	for name, by := range map[string]http.RoundTripper{"": g, " h2": overHTTP2{g}} {
		for protocol, options := range unary {
			c := metricsv1connect.NewMetricsServiceClient(&http.Client{Transport: by}, g.url(address), options...)
			_, ended[protocol+name] = c.GetLabelNames(ctx, connect.NewRequest(&metricsv1.GetLabelNamesRequest{}))
			stream, err := c.GetMetrics(ctx, connect.NewRequest(&getRequest{}))
			require.NoError(t, err)
			for stream.Receive() {
			}
			ended[protocol+name+" stream"] = stream.Err()
		}
	}
	conn := g.dial(t, address)
	stream, err := metricsv1grpc.NewMetricsServiceClient(conn).GetMetrics(ctx, &getRequest{})
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	ended["grpc-go stream"] = err
	return ended
}

// dial connects gRPC's own client.
func (g guest) dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	options := []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(g.tls.Clone()))}
	if g.tls == nil {
		options[0] = grpc.WithTransportCredentials(insecure.NewCredentials())
	}
	if g.authorization != "" {
		options = append(options, grpc.WithPerRPCCredentials(authorization(g.authorization)))
	}
	conn, err := grpc.NewClient(address, options...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

type authorization string

func (a authorization) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": string(a)}, nil
}

func (authorization) RequireTransportSecurity() bool { return false }

// page gets the page. Its status is 0 where nothing answers.
func (g guest) page(t *testing.T, address string, http2 bool) (status int, header http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url(address)+"/", nil)
	require.NoError(t, err)
	response, err := g.transport(http2).RoundTrip(g.sign(r))
	if err != nil {
		return 0, nil
	}
	defer response.Body.Close()
	return response.StatusCode, response.Header
}

// Every protocol and the page are served over TLS on the one port, to those who have what
// the file asks for.
func TestTLS(t *testing.T) {
	c, others := newCerts(t), newCerts(t)
	for _, test := range []struct {
		name, text string
		guest      guest
		in         bool
	}{
		{"TLS", rpcTLS, guest{tls: c.client(nil)}, true},
		{"TLS, and who trusts another authority", rpcTLS, guest{tls: others.client(nil)}, false},
		{"TLS, and who speaks none", rpcTLS, guest{}, false},
		{"mutual TLS", rpcMTLS, guest{tls: c.client(c.pair("client"))}, true},
		{"mutual TLS, and who has no certificate", rpcMTLS, guest{tls: c.client(nil)}, false},
		{"mutual TLS, and who has one of another authority", rpcMTLS, guest{tls: c.client(others.pair("client"))}, false},
		{"TLS with users", rpcTLS + rpcUsers, guest{c.client(nil), right}, true},
		{"no TLS", "{}", guest{}, true},
		{"no TLS, and who speaks it", "{}", guest{tls: c.client(nil)}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := newSource(t)
			src.write(point{series: "up", t: now(), v: 1})
			s := startFed(t, c.config(test.text), src)
			for protocol, err := range test.guest.calls(t, s.RPCAddr().String()) {
				require.Equal(t, test.in, err == nil, "%s: %v", protocol, err)
			}
			for _, http2 := range []bool{false, true} {
				status, _ := test.guest.page(t, s.RPCAddr().String(), http2)
				require.Equal(t, test.in, status == http.StatusOK, http2)
			}
		})
	}
}

// Who has not the right password is told so as each protocol has it. The health needs
// none.
func TestUsers(t *testing.T) {
	c := newCerts(t)
	src := newSource(t)
	src.write(point{series: "up", t: now(), v: 1})
	s := startFed(t, c.config(rpcTLS+rpcUsers), src)
	address := s.RPCAddr().String()
	for credential, text := range map[string]string{
		"": "a name and a password are needed", "Bearer abc": "a name and a password are needed",
		wrong: "wrong name or password", "Basic !": "a name and a password are needed",
	} {
		g := guest{c.client(nil), credential}
		for protocol, err := range g.calls(t, address) {
			require.Equal(t, connect.CodeUnauthenticated, codeOf(err), "%s: %v", protocol, err)
			require.ErrorContains(t, err, text, protocol)
		}
		for _, http2 := range []bool{false, true} {
			status, header := g.page(t, address, http2)
			require.Equal(t, http.StatusUnauthorized, status)
			require.Contains(t, header.Get("WWW-Authenticate"), "Basic realm=")
			require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
		}
		conn := g.dial(t, address)
		health, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
		require.NoError(t, err)
		require.Equal(t, healthv1.HealthCheckResponse_SERVING, health.GetStatus())
		watch, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
		require.NoError(t, err)
		_, err = watch.Recv()
		require.NoError(t, err)
		reflection, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
		require.NoError(t, err)
		_, err = reflection.Recv()
		require.Equal(t, connect.CodeUnauthenticated, codeOf(err))
	}
}

// A call over gRPC that is refused has its status in trailers. HAProxy passes them on if
// the answer does not say that it has a length, of 0.
func TestRefusalsHaveNoLength(t *testing.T) {
	s := start(t, newCerts(t).config(rpcUsers))
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		"http://"+s.RPCAddr().String()+metricsv1connect.MetricsServiceGetStatusProcedure, strings.NewReader("\x00\x00\x00\x00\x00"))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/grpc")
	answer, err := transport.RoundTrip(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Empty(t, body)
	require.Equal(t, int64(-1), answer.ContentLength)
	require.Equal(t, "16", answer.Trailer.Get("Grpc-Status"))
}

// What the file refuses for now is refused for now, and counted by name.
func TestRateLimitOfTheFile(t *testing.T) {
	c := newCerts(t)
	s := start(t, c.config("rate_limit:\n  interval: 1h\n  burst: 1\n"))
	status, _ := guest{}.page(t, s.RPCAddr().String(), false)
	require.Equal(t, http.StatusOK, status)
	status, header := guest{}.page(t, s.RPCAddr().String(), false)
	require.Equal(t, http.StatusTooManyRequests, status)
	require.NotEmpty(t, header.Get("Retry-After"))
	calls := guest{}.calls(t, s.RPCAddr().String())
	for protocol, err := range calls {
		require.Equal(t, connect.CodeResourceExhausted, codeOf(err), "%s: %v", protocol, err)
		require.ErrorContains(t, err, "rate_limit")
		var refused *connect.Error
		if !errors.As(err, &refused) {
			continue // gRPC's own client has its own errors
		}
		retry := false
		for _, d := range refused.Details() {
			m, err := d.Value()
			require.NoError(t, err)
			_, is := m.(*errdetails.RetryInfo)
			retry = retry || is
		}
		require.True(t, retry, protocol)
	}
	require.EqualValues(t, 1+len(calls), s.metricOf(t, "promgrpc_server_over_limit_total", "rate_limit"))
}

// Whoever guesses passwords is refused for now, and who has the right one is served.
func TestPasswordGuesses(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost+4) // so that a wrong one takes its time
	require.NoError(t, err)
	config := newCerts(t).config(fmt.Sprintf("basic_auth_users:\n  me: %s\n", hash))
	config.PasswordChecks = 2
	src := newSource(t)
	src.write(point{series: "up", t: now(), v: 1})
	s := startFed(t, config, src)
	ask := func(password string) error {
		request := connect.NewRequest(&metricsv1.GetLabelNamesRequest{})
		r := http.Request{Header: request.Header()}
		r.SetBasicAuth("me", password)
		_, err := connectClient(t, s.RPCAddr().String(), false).GetLabelNames(t.Context(), request)
		return err
	}
	require.NoError(t, ask("secret"))
	var refused atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 * config.PasswordChecks {
		wg.Go(func() {
			err := ask(fmt.Sprint("guess-", i))
			if codeOf(err) == connect.CodeResourceExhausted {
				assert.Contains(t, err.Error(), "--limit.password-checks")
				refused.Add(1)
				return
			}
			assert.Equal(t, connect.CodeUnauthenticated, codeOf(err), err)
		})
	}
	require.Eventually(t, func() bool { return refused.Load() > 0 }, patience, time.Millisecond)
	require.NoError(t, ask("secret"), "what was right needs no check")
	wg.Wait()
	require.EqualValues(t, refused.Load(), s.metricOf(t, "promgrpc_server_over_limit_total", "password-checks"))
}

// A certificate that is replaced is shown to the next caller. A stream goes on.
func TestRenewedCertificate(t *testing.T) {
	c := newCerts(t)
	src := newSource(t)
	src.write(point{series: "up", t: now(), v: 1})
	s := startFed(t, c.config(rpcTLS), src)
	g := guest{tls: c.client(nil)}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := metricsv1grpc.NewMetricsServiceClient(g.dial(t, s.RPCAddr().String())).GetMetrics(ctx, &getRequest{Follow: true})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	serial := func() string {
		conn, err := tls.Dial("tcp", s.RPCAddr().String(), g.tls)
		require.NoError(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	require.Equal(t, before, serial())
	require.NoError(t, c.pair("127.0.0.1").Write(c.dir, "server"))
	require.NotEqual(t, before, serial())
	at := now()
	src.write(point{series: "up", t: at, v: 2})
	until(t, stream.Recv, func(r *getResponse) bool {
		return slices.Contains(lines(r), fmt.Sprintf("up 2 @%d", at))
	})
}

// Answers of many frames come whole through TLS.
func TestLargeAnswersOverTLS(t *testing.T) {
	const series = 20000
	c := newCerts(t)
	src := newSource(t)
	src.append(tenLabels(0, series))
	s := startFed(t, c.config(rpcTLS), src)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := metricsv1grpc.NewMetricsServiceClient(guest{tls: c.client(nil)}.dial(t, s.RPCAddr().String())).GetMetrics(ctx, &getRequest{})
	require.NoError(t, err)
	seen := map[string]bool{}
	for _, r := range all(t, stream.Recv) {
		for _, line := range lines(r) {
			seen[line] = true
		}
	}
	require.Len(t, seen, series)
}

// Who opens a connection has as long to shake hands as for a request.
func TestHandshakesAreTimed(t *testing.T) {
	c := newCerts(t)
	config := c.config(rpcTLS)
	config.RequestTimeout = 100 * time.Millisecond
	s := start(t, config)
	for _, says := range []string{"", "\x16\x03\x01"} {
		conn, err := net.Dial("tcp", s.RPCAddr().String())
		require.NoError(t, err)
		defer conn.Close()
		_, err = fmt.Fprint(conn, says)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		_, err = io.ReadAll(conn)
		require.NoError(t, err, "it is closed in time")
	}
}

// Whose certificate is a proxy's says who calls, and whether that was over TLS. Nobody
// else does.
func TestProxiesByCertificate(t *testing.T) {
	c := newCerts(t)
	const client = "198.51.100.7"
	for name, proxy := range map[string]bool{"spiffe://test/haproxy": true, "spiffe://test/client": false} {
		config := c.config(rpcMTLS)
		config.AccessFile = filepath.Join(c.dir, "access.yml")
		require.NoError(t, os.WriteFile(config.AccessFile, []byte("roles:\n  proxy: [spiffe://test/haproxy]\n"), 0o600))
		s := start(t, config)
		g := guest{tls: c.client(c.pair(name))}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url(s.RPCAddr().String()), nil)
		require.NoError(t, err)
		r.Host = "metrics.example.org"
		r.Header.Set("X-Forwarded-Proto", "http")
		r.Header.Set("X-Forwarded-For", client)
		answer, err := g.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, proxy, answer.StatusCode == http.StatusMisdirectedRequest, "a name that its client cannot have checked")
		require.Equal(t, proxy, strings.Contains(s.log.String(), `msg="request of a web page refused" peer=`+client), s.log)
	}
}

// A proxy's certificate is nobody's that it passes a call on for, also where the proxy is
// known by its address alone.
func TestProxiesAreNobody(t *testing.T) {
	c := newCerts(t)
	src := ofTwoTeams(t)
	for _, trusted := range []bool{false, true} {
		config := c.config(rpcMTLS)
		config.AccessFile = filepath.Join(c.dir, "access.yml")
		require.NoError(t, os.WriteFile(config.AccessFile, []byte("policies: [{name: all, certificates: [spiffe://test/*], read: {}}]"), 0o600))
		if trusted {
			config.TrustedProxies = []string{"127.0.0.1"}
		}
		s := startFed(t, config, src)
		g := guest{tls: c.client(c.pair("spiffe://test/haproxy"))}
		for protocol, err := range g.calls(t, s.RPCAddr().String()) {
			require.NoError(t, err, "of its own, over %s", protocol)
		}
		for protocol, options := range unary {
			forwarded := roundTrip(func(r *http.Request) (*http.Response, error) {
				r = r.Clone(r.Context())
				r.Header.Set("X-Forwarded-For", "198.51.100.7")
				return g.RoundTrip(r)
			})
			client := metricsv1connect.NewMetricsServiceClient(&http.Client{Transport: forwarded}, g.url(s.RPCAddr().String()), options...)
			_, err := client.GetLabelNames(t.Context(), connect.NewRequest(&metricsv1.GetLabelNamesRequest{}))
			if !trusted {
				require.NoError(t, err, protocol)
				continue
			}
			require.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(err), "%s: %v", protocol, err)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestWrongRPCConfigFile(t *testing.T) {
	config := newCerts(t).config("nonsense: 1\n")
	_, err := server.New(config, nil, nil)
	require.ErrorContains(t, err, "--rpc.config.file "+config.RPCConfigFile)
}
