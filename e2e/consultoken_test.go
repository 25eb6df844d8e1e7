package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestRotatedToken rotates the token of a Consul that lets nobody do anything without
// one, under running parts. They stay registered, what becomes of them is seen, and they
// find each other, without a restart.
func TestRotatedToken(t *testing.T) {
	consul, token := harness.StartGuardedConsul(t, "deny")
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", token.File)
	cluster := harness.NewCluster(t, harness.Options{Consul: consul})
	sender := harness.NewSender(t, cluster.WriteURL(), "token", 1)
	sender.Start(50 * time.Millisecond)
	registered := func() bool {
		servers := consul.Instances(serverService)
		forwarders := consul.Instances(forwarderService)
		for _, f := range cluster.Forwarders {
			if !forwarders[f.Listening("link")] {
				return false
			}
		}
		return servers[cluster.RPC(0)] && servers[cluster.RPC(1)]
	}
	harness.Eventually(t, "all parts in Consul", registered)
	for range 2 {
		token.Rotate()
		// Who could not report would not be well after 5s, and never again.
		time.Sleep(8 * time.Second)
		harness.Eventually(t, "all parts in Consul with another token", func() bool {
			return registered() && consul.Heard(serverService) && consul.Heard(forwarderService)
		})
	}

	// What Consul tells of a part reaches its catalog with the part's token.
	cluster.Servers[0].Terminate(time.Minute)
	harness.Eventually(t, "a server that ended is not in Consul", func() bool {
		_, ok := consul.Instances(serverService)[cluster.RPC(0)]
		return !ok
	})
	cluster.StartServer()
	added := cluster.RPC(2)
	harness.Eventually(t, "the new server in Consul", func() bool { return consul.Instances(serverService)[added] })
	want := sender.Acknowledged()
	harness.Eventually(t, "samples at the server that the forwarders found", func() bool {
		return harness.Get(t, added, "grpc", `{job="token"}`, "--since=1h").Points.Missing(want) == 0
	})
	sender.Stop()
	for _, p := range slices.Concat(cluster.Servers[1:], cluster.Forwarders) {
		p.Terminate(time.Minute)
	}
	harness.Eventually(t, "nobody is registered any more", func() bool {
		return len(consul.Instances(serverService)) == 0 && len(consul.Instances(forwarderService)) == 0
	})
}
