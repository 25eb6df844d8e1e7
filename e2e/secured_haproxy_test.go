//go:build debian

package e2e

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// TestSecuredHAProxy looks at who gets past HAProxy in a secured deployment, and to
// whom it sends calls.
func TestSecuredHAProxy(t *testing.T) {
	secured := harness.NewSecured(t)
	target := harness.NewLocal(t, harness.Options{Secured: secured})
	t.Run("stats", func(t *testing.T) { testStats(t, target.HAProxy(), secured) })
	t.Run("versions of TLS", func(t *testing.T) { testVersions(t, target.HAProxy(), secured) })
	t.Run("tokens", func(t *testing.T) { testTokens(t, target.HAProxy(), secured) })
	t.Run("another part in the place of a server", func(t *testing.T) { testImpostor(t, target, secured) })
}

// testStats asks for the stats page with and without what it wants.
func testStats(t *testing.T, haproxy *harness.HAProxy, secured *harness.Secured) {
	anonymous := secured.TLS()
	anonymous.Certificates = nil
	password := secured.Secret("admin.password")
	for _, tc := range []struct {
		name, path, user string
		config           *tls.Config
		want             int
	}{
		{"nobody", "/", "", anonymous, http.StatusUnauthorized},
		{"a wrong password", "/", "admin:" + password + "x@", anonymous, http.StatusUnauthorized},
		{"the password", "/", "admin:" + password + "@", anonymous, http.StatusOK},
		{"the certificate of Prometheus", "/metrics", "", secured.TLS(), http.StatusOK},
		{"nobody, for metrics", "/metrics", "", anonymous, http.StatusUnauthorized},
		{"a probe", "/-/ready", "", anonymous, http.StatusOK},
	} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: tc.config, DisableKeepAlives: true}}
		res, err := client.Get("https://" + tc.user + haproxy.Web + tc.path)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		_ = res.Body.Close()
		if res.StatusCode != tc.want {
			t.Errorf("%s: %s, want %d", tc.name, res.Status, tc.want)
		}
	}
}

// testVersions connects by each version of TLS, and without.
func testVersions(t *testing.T, haproxy *harness.HAProxy, secured *harness.Secured) {
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		config := secured.TLS()
		config.MinVersion, config.MaxVersion, config.NextProtos = version, version, []string{"h2"}
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", haproxy.RPC)
		if got := err == nil; got != want {
			t.Errorf("%s: connected is %t: %v", tls.VersionName(version), got, err)
		}
		if err != nil {
			continue
		}
		if protocol := conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; protocol != "h2" {
			t.Errorf("%s: the protocol is %q", tls.VersionName(version), protocol)
		}
		_ = conn.Close()
	}
	if res, err := http.Get("http://" + haproxy.RPC + "/"); err == nil {
		_ = res.Body.Close()
		t.Errorf("without TLS: %s", res.Status)
	}
}

// testTokens calls with and without one, which the server is to see.
func testTokens(t *testing.T, haproxy *harness.HAProxy, secured *harness.Secured) {
	for name, tc := range map[string]struct {
		header string
		want   connect.Code // 0 for success
	}{
		"none":  {"", connect.CodeUnauthenticated},
		"wrong": {"Bearer x", connect.CodeUnauthenticated},
		"right": {secured.Authorization(), 0},
	} {
		for protocol, options := range map[string][]connect.ClientOption{"grpc": {connect.WithGRPC()}, "grpcweb": {connect.WithGRPCWeb()}, "connect": nil} {
			transport := &http.Transport{TLSClientConfig: secured.TLS(), ForceAttemptHTTP2: true}
			client := metricsv1connect.NewMetricsServiceClient(&http.Client{Transport: authorized{transport, tc.header}}, "https://"+haproxy.RPC, options...)
			ctx, cancel := context.WithTimeout(t.Context(), whole)
			_, err := client.GetStatus(ctx, connect.NewRequest(&metricsv1.GetStatusRequest{}))
			cancel()
			transport.CloseIdleConnections()
			if tc.want == 0 && err != nil || tc.want != 0 && connect.CodeOf(err) != tc.want {
				t.Errorf("%s over %s: %v", name, protocol, err)
			}
		}
	}
}

// testImpostor registers what has the certificate of a forwarder as a server that is
// well. No call comes to it, whatever becomes of the others.
func testImpostor(t *testing.T, target *harness.Local, secured *harness.Secured) {
	pair, err := tls.LoadX509KeyPair(secured.File("forwarder", "cert.pem"), secured.File("forwarder", "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 1)
	impostor := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Path:
		default:
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"status":"SERVING"}`))
	}))
	impostor.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	impostor.EnableHTTP2 = true
	impostor.StartTLS()
	defer impostor.Close()
	host, port, err := net.SplitHostPort(impostor.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	target.Consul().Register(serverService, "impostor", host, number)
	harness.Eventually(t, "HAProxy to have found out", func() bool {
		for _, row := range target.HAProxy().Servers() {
			if strings.HasPrefix(row["status"], "DOWN") && row["check_status"] == "L6RSP" {
				return true
			}
		}
		return false
	})
	for n := range 2 {
		target.Kill(harness.ServerPart(n + 1))
	}
	target.HAProxy().Await(t, 0)
	// Now calls go to whom no check has found well.
	client := metricsv1connect.NewMetricsServiceClient(&http.Client{Transport: authorized{&http.Transport{TLSClientConfig: secured.TLS()}, secured.Authorization()}}, "https://"+target.HAProxy().RPC)
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if _, err := client.GetStatus(ctx, connect.NewRequest(&metricsv1.GetStatusRequest{})); err == nil {
			t.Error("a call without a server passed")
		}
		cancel()
	}
	select {
	case path := <-asked:
		t.Errorf("the impostor was asked for %s", path)
	default:
	}
	target.Consul().Deregister("impostor")
	for n := range 2 {
		target.Start(harness.ServerPart(n + 1))
	}
}
