package server_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
	"github.com/promgrpc/exporter/server"
)

// sentBy is what a browser adds to a request, and the name that it calls by.
type sentBy struct {
	host   string // "": the address
	header map[string]string
}

// RoundTrip implements [http.RoundTripper].
func (s sentBy) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range s.header {
		r.Header.Set(name, value)
	}
	if s.host != "" {
		r.Host = s.host
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(r.Header.Get("Content-Type") != "application/grpc+proto")
	protocols.SetUnencryptedHTTP2(r.Header.Get("Content-Type") == "application/grpc+proto")
	return (&http.Transport{Protocols: protocols, DisableKeepAlives: true}).RoundTrip(r)
}

// callsBy makes a unary call and one with a stream in every way, and returns what comes
// of each, and of a health check.
func callsBy(t *testing.T, address string, by sentBy) (ended map[string]error, health error) {
	ended = map[string]error{}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := &http.Client{Transport: by}
	ways := maps.Clone(unary)
	ways["connect get"] = []connect.ClientOption{connect.WithHTTPGet()}
	for name, options := range ways {
		c := metricsv1connect.NewMetricsServiceClient(client, "http://"+address, options...)
		_, ended[name] = c.GetLabelNames(ctx, connect.NewRequest(&metricsv1.GetLabelNamesRequest{}))
		stream, err := c.GetMetrics(ctx, connect.NewRequest(&getRequest{}))
		require.NoError(t, err)
		for stream.Receive() {
		}
		ended[name+" stream"] = stream.Err()
		_ = stream.Close()
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if by.host != "" {
		options = append(options, grpc.WithAuthority(by.host))
	}
	conn, err := grpc.NewClient(address, options...)
	require.NoError(t, err)
	defer conn.Close()
	ctx = metadata.NewOutgoingContext(ctx, metadata.New(by.header))
	stream, err := metricsv1grpc.NewMetricsServiceClient(conn).GetMetrics(ctx, &getRequest{})
	require.NoError(t, err)
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	ended["grpc-go stream"] = err
	_, health = healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	return ended, health
}

// A page that a browser has from elsewhere calls nothing, unless its origin is allowed,
// nor does one of a name that is not ours. The answer says so in the call's protocol.
func TestPagesOfOthersCallNothing(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	c := testConfig(t)
	c.CORSOrigins, c.RPCHosts = []string{"https://good.example"}, []string{"metrics.example.org"}
	s := startFed(t, c, src)
	page := func(origin, site string) sentBy {
		return sentBy{header: map[string]string{"Origin": origin, "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors"}}
	}
	refused := map[string]float64{}
	for name, test := range map[string]struct {
		by           sentBy
		reason, flag string
	}{
		"another site":         {page("https://evil.example", "cross-site"), "origin", "--rpc.cors-origin"},
		"another port":         {page("http://localhost:1", "same-site"), "origin", "--rpc.cors-origin"},
		"without an origin":    {sentBy{header: map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}}, "origin", "--rpc.cors-origin"},
		"another name":         {sentBy{host: "evil.example:8090"}, "host", "--rpc.allowed-host"},
		"an allowed page":      {page("https://good.example", "cross-site"), "", ""},
		"own page":             {page("http://"+s.RPCAddr().String(), "same-origin"), "", ""},
		"an allowed name":      {sentBy{host: "metrics.example.org:8090"}, "", ""},
		"a name in a cluster":  {sentBy{host: "server.ns.svc.cluster.local:8090"}, "", ""},
		"a name in a compose":  {sentBy{host: "server-1:8090"}, "", ""},
		"nobody's page at all": {sentBy{}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			ended, health := callsBy(t, s.RPCAddr().String(), test.by)
			require.Equal(t, test.reason == "origin", health != nil, "by any name one may ask for the health")
			for call, err := range ended {
				if test.reason == "" {
					require.NoError(t, err, call)
					continue
				}
				require.Error(t, err, call)
				require.ErrorContains(t, err, test.flag, call)
				if strings.HasPrefix(call, "grpc-go") {
					require.ErrorContains(t, err, "code = PermissionDenied", call)
				} else {
					requireCode(t, connect.CodePermissionDenied, err)
				}
				refused[test.reason]++
			}
		})
	}
	// Of the three pages' health checks too.
	require.Equal(t, refused["host"], s.metricOf(t, "promgrpc_server_refused_pages_total", "host"))
	require.Equal(t, refused["origin"]+3, s.metricOf(t, "promgrpc_server_refused_pages_total", "origin"))
	require.Contains(t, s.log.String(), `msg="request of a web page refused"`)
}

// What is no call is answered as HTTP has it. A link to the page may be followed.
func TestPagesOfOthersShowNothing(t *testing.T) {
	s := start(t, testConfig(t))
	encoded := "?" + url.Values{"connect": {"v1"}, "encoding": {"json"}, "message": {"{}"}}.Encode()
	fetch := func(site, mode, dest string) map[string]string {
		return map[string]string{"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
	}
	for name, test := range map[string]struct {
		method, path string
		by           sentBy
		status       int
	}{
		"link":            {"GET", "/", sentBy{header: fetch("cross-site", "navigate", "document")}, http.StatusOK},
		"frame":           {"GET", "/", sentBy{header: fetch("cross-site", "navigate", "iframe")}, http.StatusForbidden},
		"script of ours":  {"GET", "/docs/", sentBy{header: fetch("cross-site", "no-cors", "script")}, http.StatusForbidden},
		"call as image":   {"GET", metricsv1connect.MetricsServiceGetStatusProcedure + encoded, sentBy{header: fetch("cross-site", "no-cors", "image")}, http.StatusForbidden},
		"call of no type": {"POST", metricsv1connect.MetricsServiceGetStatusProcedure, sentBy{header: fetch("cross-site", "no-cors", "empty")}, http.StatusForbidden},
		"another name":    {"GET", "/", sentBy{host: "evil.example"}, http.StatusMisdirectedRequest},
		"own page":        {"GET", "/", sentBy{header: fetch("none", "navigate", "document")}, http.StatusOK},
		"a call":          {"GET", metricsv1connect.MetricsServiceGetStatusProcedure + encoded, sentBy{}, http.StatusOK},
	} {
		r, err := http.NewRequestWithContext(t.Context(), test.method, "http://"+s.RPCAddr().String()+test.path, nil)
		require.NoError(t, err)
		answer, err := test.by.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, test.status, answer.StatusCode, name)
		require.Equal(t, "nosniff", answer.Header.Get("X-Content-Type-Options"), name)
	}
}

// Where a proxy has the certificate, it says so, and is believed if it is trusted.
func TestNamesAtAProxyWithTLS(t *testing.T) {
	for trusted, scheme := range map[string]string{"127.0.0.1": "https", "192.0.2.1": "https", "127.0.0.0/8": "http"} {
		c := testConfig(t)
		c.TrustedProxies = []string{trusted}
		s := start(t, c)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.RPCAddr().String(), nil)
		require.NoError(t, err)
		answer, err := sentBy{"metrics.example.org", map[string]string{"X-Forwarded-Proto": scheme}}.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		want := http.StatusMisdirectedRequest
		if trusted == "127.0.0.1" {
			want = http.StatusOK
		}
		require.Equal(t, want, answer.StatusCode, "%s says %s", trusted, scheme)
	}
}

// Over TLS the certificate has the name, or the caller does not care.
func TestNamesOverTLS(t *testing.T) {
	certs := newCerts(t)
	s := start(t, certs.config(rpcTLS))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: certs.client(nil), DisableKeepAlives: true}}
	for site, want := range map[string]int{"": http.StatusOK, "cross-site": http.StatusForbidden} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+s.RPCAddr().String(), nil)
		require.NoError(t, err)
		r.Host = "metrics.example.org"
		r.Header.Set("Sec-Fetch-Site", site)
		answer, err := client.Do(r)
		require.NoError(t, err)
		require.NoError(t, answer.Body.Close())
		require.Equal(t, want, answer.StatusCode, site)
	}
}

func TestHostsAreChecked(t *testing.T) {
	c := testConfig(t)
	c.RPCHosts = []string{"a.example:80"}
	_, err := server.New(c, nil, nil)
	require.ErrorContains(t, err, `--rpc.allowed-host: "a.example:80"`)
}
