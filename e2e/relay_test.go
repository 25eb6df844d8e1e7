package e2e

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestRelay follows a relay of a relay, and then a server, while samples are
// written and what is between is killed, and gets each sample once.
func TestRelay(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{})
	sender := harness.NewSender(t, cluster.WriteURL(), "relay", 20)
	sender.Start(20 * time.Millisecond)
	relay := func(name, upstream string) (*harness.Process, string) {
		// A port that it has again after a restart.
		address := harness.Address(t, harness.Host())
		return harness.Start(t, name, harness.Binary(t, "prometheus-grpc-client"), "relay",
			"--upstream="+upstream, "--listen="+address, "--storage.path="+t.TempDir()), address
	}
	first, firstAddress := relay("relay 1", cluster.RPCs())
	second, secondAddress := relay("relay 2", firstAddress)
	harness.Eventually(t, "samples at the end of the line", func() bool {
		code, out, _ := harness.Client(t, "get", "--address="+secondAddress, `{job="relay"}`)
		return code == 0 && len(out) > 0
	})
	followers := map[string]*harness.Follower{}
	for _, protocol := range protocols {
		followers[protocol] = harness.Follow(t, secondAddress+","+cluster.RPC(0), protocol, `{job="relay"}`, "--since=1h")
	}
	await := func(what string) {
		t.Helper()
		time.Sleep(500 * time.Millisecond)
		want := sender.Acknowledged()
		for protocol, f := range followers {
			harness.Eventually(t, what+" over "+protocol, func() bool { return f.Points().Missing(want) == 0 })
		}
	}
	await("at the end of the line")
	cluster.Servers[0].Kill()
	await("a server killed")
	cluster.Servers[0].Restart()
	first.Kill()
	time.Sleep(200 * time.Millisecond)
	first.Restart()
	await("the relay between killed and back")
	cluster.Ready()
	second.Kill()
	await("at a server")
	sender.Stop()
	await("all sent")
	for protocol, f := range followers {
		harness.Equal(t, protocol, sender.Acknowledged(), f.Points())
	}
}

// TestRelayByProxy has a relay that reaches its upstream through the proxy that the
// environment names, as programs do in networks that have no other way out.
func TestRelayByProxy(t *testing.T) {
	t.Parallel()
	called := make(chan string, 1)
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case called <- r.Proto + " " + r.Host + r.URL.Path:
		default:
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	upstream.EnableHTTP2 = true
	upstream.StartTLS()
	t.Cleanup(upstream.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tunnel(t, w, upstream.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: upstream.Certificate().Raw})
	if err := os.WriteFile(ca, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	harness.StartEnv(t, "relay", []string{"HTTPS_PROXY=" + proxy.URL, "NO_PROXY=", "no_proxy="},
		harness.Binary(t, "prometheus-grpc-client"), "relay", "--upstream=example.com:8090", "--tls-ca-file="+ca,
		"--listen="+harness.Address(t, harness.Host()), "--storage.path="+t.TempDir())
	harness.Eventually(t, "a call through the proxy", func() bool { return len(called) > 0 })
	if got, want := <-called, "HTTP/2.0 example.com:8090/promgrpc.metrics.v1.MetricsService/ReadLogs"; got != want {
		t.Errorf("the call was %s, want %s", got, want)
	}
}

// tunnel connects the client of a proxy with an address.
func tunnel(t *testing.T, w http.ResponseWriter, address string) {
	there, err := net.Dial("tcp", address)
	if err != nil {
		t.Errorf("dial: %v", err)
		return
	}
	defer func() { _ = there.Close() }()
	here, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Errorf("hijack: %v", err)
		return
	}
	defer func() { _ = here.Close() }()
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(there, here) }()
	_, _ = io.Copy(here, there) // Until the relay or its upstream closes.
}
