package e2e

import (
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

const (
	forwarderService = "metrics-forwarder"
	serverService    = "prometheus-api-server"
)

// TestBalancer has a real Prometheus write, all parts find each other at a real
// Consul, and everybody read through a real HAProxy only.
func TestBalancer(t *testing.T) {
	t.Parallel()
	target := harness.NewLocal(t, harness.Options{})
	start := time.Now()
	prometheus := harness.StartPrometheus(t, harness.PrometheusOptions{
		Name: "balancer", Tool: "prometheus3", Message: "io.prometheus.write.v2.Request",
		URL: target.WriteURL(), Target: harness.StartApp(t),
	})
	address := target.HAProxy().RPC
	followers := map[string]*harness.Follower{}
	for _, protocol := range protocols {
		followers[protocol] = harness.Follow(t, address, protocol, "--since=1h")
	}
	time.Sleep(8 * time.Second)
	at := time.Now()
	time.Sleep(2 * time.Second) // for what is being scraped
	w := newWant(t, prometheus, start, at)
	w.await(t, address)

	t.Run("grpcurl", func(t *testing.T) {
		grpcurl := harness.Tool(t, "grpcurl")
		contains(t, run(t, nil, grpcurl, "-plaintext", address, "list"), service, "grpc.health.v1.Health")
		contains(t, run(t, nil, grpcurl, "-plaintext", "-d", `{"selectors":["up{job=\"app\"}"]}`, address, service+"/GetMetrics"), `"value": 1`, `"end": {}`)
	})
	t.Run("curl", func(t *testing.T) {
		contains(t, run(t, nil, "curl", "-sS", "--fail-with-body", "-H", "Content-Type: application/json", "-d", "{}", "http://"+address+"/"+service+"/GetStatus"), `"ready":true`)
		contains(t, run(t, envelope(`{"selectors":["up{job=\"app\"}"]}`), "curl", "-sS", "--fail-with-body",
			"-H", "Content-Type: application/connect+json", "--data-binary", "@-", "http://"+address+"/"+service+"/GetMetrics"), `"value":1`, `"end":{}`)
	})
	for _, protocol := range protocols {
		t.Run("buf curl "+protocol, func(t *testing.T) {
			args := []string{"curl", "--protocol", protocol, "--data", `{"selectors":["up{job=\"app\"}"]}`}
			if protocol != "connect" {
				args = append(args, "--http2-prior-knowledge")
			}
			contains(t, run(t, nil, harness.Tool(t, "buf"), append(args, "http://"+address+"/"+service+"/GetMetrics")...), `"up"`, `"end"`)
		})
	}
	// From now on nothing comes, so that what is compared holds still.
	target.Terminate(harness.Receiver)
	for _, protocol := range protocols {
		t.Run("client "+protocol, func(t *testing.T) {
			w.compare(t, "through HAProxy over "+protocol, address, protocol)
			f := followers[protocol]
			harness.Equal(t, "follower over "+protocol, w.visible, f.Points().Until(at).Visible())
			f.Signal(syscall.SIGINT)
			if code := f.Wait(5 * time.Second); code != 0 {
				t.Errorf("the client ended with the code %d", code)
			}
		})
	}
	t.Run("consul", func(t *testing.T) { testConsul(t, target) })
}

// testConsul looks at what Consul has, when all is well and after a server was
// killed and another one ended.
func testConsul(t *testing.T, target *harness.Local) {
	consul := target.Consul()
	catalog := run(t, nil, harness.Tool(t, "consul"), "catalog", "services", "-http-addr="+consul.HTTP)
	contains(t, catalog, forwarderService, serverService)
	want := map[string]bool{target.RPC(0): true, target.RPC(1): true}
	if got := consul.Instances(serverService); !maps.Equal(got, want) {
		t.Errorf("servers in Consul: %v, want %v", got, want)
	}
	if got, want := slices.Sorted(slices.Values(consul.SRV(serverService))), slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
		t.Errorf("SRV records of servers: %v, want %v", got, want)
	}
	if got, want := consul.Instances(forwarderService), map[string]bool{target.Forwarder.Listening("link"): true}; !maps.Equal(got, want) {
		t.Errorf("forwarders in Consul: %v, want %v", got, want)
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		start := time.Now()
		harness.Eventually(t, what, ok)
		t.Logf("%s after %s", what, time.Since(start).Round(10*time.Millisecond))
	}

	killed := target.RPC(0)
	target.Kill(harness.ServerPart(1))
	await("the killed server is critical", func() bool { return !consul.Instances(serverService)[killed] })
	await("the killed server has no SRV record", func() bool { return slices.Equal(consul.SRV(serverService), []string{target.RPC(1)}) })
	await("HAProxy has one server", func() bool { return len(target.HAProxy().Up()) == 1 })
	target.Start(harness.ServerPart(1))
	await("the server is healthy again", func() bool { return consul.Instances(serverService)[killed] })
	target.HAProxy().Await(t, 2)

	ended := target.RPC(1)
	target.Terminate(harness.ServerPart(2))
	if _, ok := consul.Instances(serverService)[ended]; ok {
		t.Error("a server has ended and is still registered")
	}
	target.Terminate(harness.Forwarder)
	if got := consul.Instances(forwarderService); len(got) != 0 {
		t.Errorf("the forwarder has ended and is still registered: %v", got)
	}
}
