package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

const (
	forwarderService = "metrics-forwarder"
	serverService    = "prometheus-api-server"
	routerService    = "prometheus-api-router"
)

// TestConsul has all parts find each other at a real Consul.
func TestConsul(t *testing.T) {
	t.Parallel()
	consul := harness.StartConsul(t)
	cluster := harness.NewCluster(t, harness.Options{Consul: consul})
	write(t, cluster, series(map[string]string{"__name__": "found"}, 1))
	awaitSeries(t, cluster, "found", 1)
	testConsul(t, cluster, consul, func(int) {})
}

// TestPipelinesAtOneConsul has two pipelines find their own parts by a tag.
func TestPipelinesAtOneConsul(t *testing.T) {
	t.Parallel()
	consul := harness.StartConsul(t)
	pipelines := map[string]*harness.Cluster{}
	for _, tag := range []string{"a", "b"} {
		pipelines[tag] = harness.NewCluster(t, harness.Options{Consul: consul, Tag: tag, Forwarders: 1})
	}
	for tag, cluster := range pipelines {
		write(t, cluster, series(map[string]string{"__name__": "found", "pipeline": tag}, 1))
	}
	for tag, cluster := range pipelines {
		awaitSeries(t, cluster, fmt.Sprintf(`found{pipeline=%q}`, tag), 1)
		awaitSeries(t, cluster, `found`, 1)
		want := slices.Sorted(strings.SplitSeq(cluster.RPCs(), ","))
		harness.Eventually(t, "SRV records of "+tag, func() bool {
			return slices.Equal(slices.Sorted(slices.Values(consul.SRVTagged(serverService, tag))), want)
		})
	}
}

// testConsul looks at what Consul has, when all is well and after a server was
// killed and another one ended. Balanced is called when calls should go to so many
// servers, and waits until they do.
func testConsul(t *testing.T, cluster *harness.Cluster, consul *harness.Consul, balanced func(servers int)) {
	t.Helper()
	catalog := run(t, nil, harness.Tool(t, "consul"), "catalog", "services", "-http-addr="+consul.HTTP)
	contains(t, catalog, forwarderService, serverService)
	want := map[string]bool{cluster.RPC(0): true, cluster.RPC(1): true}
	await := func(what string, ok func() bool) {
		t.Helper()
		start := time.Now()
		harness.Eventually(t, what, ok)
		t.Logf("%s after %s", what, time.Since(start).Round(10*time.Millisecond))
	}
	await("both servers are healthy", func() bool { return maps.Equal(consul.Instances(serverService), want) })
	if got, want := slices.Sorted(slices.Values(consul.SRV(serverService))), slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
		t.Errorf("SRV records of servers: %v, want %v", got, want)
	}
	forwarders := map[string]bool{}
	for _, f := range cluster.Forwarders {
		forwarders[f.Listening("link")] = true
	}
	await("the forwarders are healthy", func() bool { return maps.Equal(consul.Instances(forwarderService), forwarders) })

	killed := cluster.RPC(0)
	cluster.Servers[0].Kill()
	await("the killed server is critical", func() bool { return !consul.Instances(serverService)[killed] })
	await("the killed server has no SRV record", func() bool { return slices.Equal(consul.SRV(serverService), []string{cluster.RPC(1)}) })
	await("calls go to the other one", func() bool { balanced(1); return true })
	cluster.Servers[0].Restart()
	cluster.Servers[0].Ready(cluster.Servers[0].Listening("web"))
	await("the server is healthy again", func() bool { return consul.Instances(serverService)[killed] })
	balanced(2)

	ended := cluster.RPC(1)
	end := func(p *harness.Process) {
		t.Helper()
		if code := p.Terminate(30 * time.Second); code != 0 {
			t.Errorf("%s ended with the code %d", p.Name, code)
		}
	}
	end(cluster.Servers[1])
	if _, ok := consul.Instances(serverService)[ended]; ok {
		t.Error("a server has ended and is still registered")
	}
	for _, f := range cluster.Forwarders {
		end(f)
	}
	if got := consul.Instances(forwarderService); len(got) != 0 {
		t.Errorf("the forwarders have ended and are still registered: %v", got)
	}
}
