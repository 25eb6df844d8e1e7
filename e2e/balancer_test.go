package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestBalancer has all parts find each other at a real Consul, and reads through
// a real HAProxy only, while servers die, drain and come.
func TestBalancer(t *testing.T) {
	harness.SkipWithout(t, "consul", "haproxy")
	t.Parallel()
	consul := harness.StartConsul(t)
	cluster := harness.NewCluster(t, harness.Options{Consul: consul})
	haproxy := harness.StartHAProxy(t, consul)
	up := func(n int) {
		t.Helper()
		start := time.Now()
		harness.Eventually(t, fmt.Sprintf("%d servers in HAProxy", n), func() bool { return len(haproxy.Up()) == n })
		t.Logf("HAProxy has %d servers after %s", n, time.Since(start).Round(time.Millisecond))
	}
	up(2)
	services := consul.Services()
	for _, name := range []string{"metrics-forwarder", "prometheus-api-server"} {
		if _, ok := services[name]; !ok {
			t.Errorf("%s is not registered: %v", name, services)
		}
	}
	sender := harness.NewSender(t, cluster.WriteURL(), "balancer", 20)
	sender.Start(50 * time.Millisecond)
	followers := map[string]*harness.Follower{}
	for _, protocol := range protocols {
		followers[protocol] = harness.Follow(t, haproxy.RPC, protocol, `{job="balancer"}`, "--since=1h")
	}
	await := func(what string) {
		t.Helper()
		start, want := time.Now(), sender.Acknowledged()
		for protocol, f := range followers {
			harness.Eventually(t, what+" over "+protocol, func() bool { return f.Points().Missing(want) == 0 })
		}
		t.Logf("%s: %d samples at all clients after %s", what, len(want), time.Since(start).Round(time.Millisecond))
	}
	time.Sleep(time.Second)
	await("two servers")

	grpcurl := harness.Tool(t, "grpcurl")
	contains(t, run(t, nil, grpcurl, "-plaintext", haproxy.RPC, "list"), service)
	contains(t, run(t, nil, grpcurl, "-plaintext", "-d", `{"selectors":["sent_total{series=\"0\"}"]}`, haproxy.RPC, service+"/GetMetrics"), `"balancer"`, `"end": {}`)
	contains(t, run(t, nil, "curl", "-sS", "--fail-with-body", "-H", "Content-Type: application/json", "-d", "{}", "http://"+haproxy.RPC+"/"+service+"/GetStatus"), `"ready":true`)

	cluster.Servers[0].Kill()
	await("server 1 killed")
	up(1)
	cluster.Servers[0].Restart()
	up(2)

	third := cluster.StartServer()
	up(3)
	address := third.Listening("rpc")
	want := sender.Acknowledged()
	harness.Eventually(t, "all samples at the third server", func() bool {
		return harness.Get(t, address, "grpc", `{job="balancer"}`, "--since=1h").Points.Missing(want) == 0
	})

	if code := cluster.Servers[1].Terminate(20 * time.Second); code != 0 {
		t.Errorf("server 2 ended with the code %d", code)
	}
	await("server 2 drained")
	if rpc := cluster.RPC(1); slices.Contains(consul.Healthy("prometheus-api-server"), rpc) {
		t.Errorf("%s has ended and is still registered", rpc)
	}

	haproxy.Reload()
	time.Sleep(500 * time.Millisecond)
	await("HAProxy reloaded")
	consul.Kill()
	time.Sleep(time.Second)
	await("Consul away")
	consul.Restart()
	consul.Ready()
	harness.Eventually(t, "the servers at Consul again", func() bool { return len(consul.Healthy("prometheus-api-server")) == 2 })

	sender.Stop()
	await("all sent")
	for protocol, f := range followers {
		harness.Equal(t, protocol, sender.Acknowledged(), f.Points())
		f.Signal(syscall.SIGINT)
		if code := f.Wait(2 * time.Second); code != 0 {
			t.Errorf("%s: the client ended with the code %d", protocol, code)
		}
	}
}
