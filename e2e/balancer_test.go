//go:build debian

package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
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
	t.Run("consul", func(t *testing.T) {
		testConsul(t, target.Cluster, target.Consul(), func(servers int) { target.HAProxy().Await(t, servers) })
	})
}
