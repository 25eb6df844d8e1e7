//go:build compose

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestCompose runs docker-compose.yml as it is on a Docker engine, makes calls
// of all kinds through its HAProxy, and then the failures of TestFailures. See
// `make test-compose`.
//
// The tag keeps it out of `go test ./e2e/...`: it needs an engine and images,
// and takes some minutes.
func TestCompose(t *testing.T) {
	start := time.Now()
	target := harness.NewCompose(t, nil)
	address := target.HAProxy().RPC
	t.Run("targets", func(t *testing.T) { allUp(t, target, twoServers...) })
	t.Run("calls", func(t *testing.T) {
		grpcurl, method := harness.Tool(t, "grpcurl"), service+"/GetMetrics"
		contains(t, run(t, nil, grpcurl, "-plaintext", address, "list"), service, "grpc.health.v1.Health")
		contains(t, run(t, nil, grpcurl, "-plaintext", "-d", `{"selectors":["up"]}`, address, method), `"metrics-forwarder"`, `"end": {}`)
		contains(t, run(t, nil, "curl", "-sS", "--fail-with-body", "-H", "Content-Type: application/json", "-d", "{}", "http://"+address+"/"+service+"/GetStatus"), `"ready":true`)
		contains(t, run(t, envelope(`{"selectors":["up"]}`), "curl", "-sS", "--fail-with-body", "-H", "Content-Type: application/connect+json",
			"--data-binary", "@-", "http://"+address+"/"+method), `"metrics-forwarder"`, `"end":{}`)
		contains(t, run(t, nil, harness.Tool(t, "buf"), "curl", "--protocol=grpcweb", "--http2-prior-knowledge",
			"--data", `{"selectors":["up"]}`, "http://"+address+"/"+method), `"metrics-forwarder"`, `"end"`)
	})
	t.Run("Consul", func(t *testing.T) {
		for name, number := range map[string]int{forwarderService: 2, serverService: 2} {
			instances := target.Consul().Instances(name)
			if len(instances) != number {
				t.Errorf("%d instances of %s in place of %d: %v", len(instances), name, number, instances)
			}
			for instance, passing := range instances {
				if !passing {
					t.Errorf("%s %s is not healthy", name, instance)
				}
			}
		}
	})
	t.Run("client", func(t *testing.T) { following(t, target) })

	failAndCompare(t, target, start, failures)
}

// TestComposeSecured is TestCompose with deploy/secured, called by the client. All
// failures are in TestFailuresSecured.
func TestComposeSecured(t *testing.T) {
	start := time.Now()
	target := harness.NewCompose(t, harness.NewSecured(t))
	t.Run("targets", func(t *testing.T) { allUp(t, target, twoServers...) })
	t.Run("client", func(t *testing.T) { following(t, target) })
	few := []string{"server killed", "rolling restart of every part", "HAProxy reloaded"}
	failAndCompare(t, target, start, slices.DeleteFunc(slices.Clone(failures), func(f failure) bool { return !slices.Contains(few, f.name) }))
}

// TestComposeBucket is TestCompose with deploy/bucket.
func TestComposeBucket(t *testing.T) {
	start := time.Now()
	target := harness.NewCompose(t, nil, "deploy/bucket/docker-compose.yml")
	t.Run("targets", func(t *testing.T) { allUp(t, target, twoServers...) })
	failAndCompare(t, target, start, []failure{bucketAway})
}

// TestComposeGroups runs deploy/groups, calls its routers through HAProxy, and makes the
// failures of TestFailuresGroups that are of one container.
func TestComposeGroups(t *testing.T) {
	target := harness.NewCompose(t, nil, "deploy/groups/docker-compose.yml")
	t.Run("targets", func(t *testing.T) {
		allUp(t, target, routerService, routerService, serverService, serverService, serverService, serverService)
	})
	t.Run("client", func(t *testing.T) { following(t, target) })
	t.Run("both groups have series", func(t *testing.T) {
		found := 0
		for address := range target.Consul().Instances(serverService) {
			n := len(harness.Get(t, address, "grpc", "up").Points)
			if found += n; n == 0 {
				t.Errorf("%s has none", address)
			}
		}
		if all := len(harness.Get(t, target.HAProxy().RPC, "grpc", "up").Points); found != 2*all {
			t.Errorf("all servers have %d, a router has %d", found, all)
		}
	})
	few := []string{"router killed", "router drained by SIGTERM", "a group's server killed"}
	testFailures(t, target, slices.DeleteFunc(slices.Clone(groupFailures), func(f failure) bool { return !slices.Contains(few, f.name) }))
	target.Healthy()
}

// TestComposeThanos runs deploy/thanos, whose Thanos Query has what Prometheus scraped once,
// with both servers and with one.
func TestComposeThanos(t *testing.T) {
	target := harness.NewCompose(t, nil, "deploy/thanos/docker-compose.yml")
	t.Run("targets", func(t *testing.T) { allUp(t, target, twoServers...) })
	count := func() string {
		var answer struct {
			Data struct{ Result []struct{ Value []any } }
		}
		res, err := http.Get(target.ThanosURL() + "/api/v1/query?query=count(up==1)")
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || len(answer.Data.Result) != 1 {
			return fmt.Sprint(answer, err)
		}
		return fmt.Sprint(answer.Data.Result[0].Value[1])
	}
	want := fmt.Sprint(len(twoServers) + len(others))
	harness.Eventually(t, "each target once", func() bool { return count() == want })
	target.Kill(harness.ServerPart(1))
	harness.Eventually(t, "each target but the server that was killed once", func() bool { return count() == fmt.Sprint(len(twoServers)+len(others)-1) })
	target.Start(harness.ServerPart(1))
	harness.Eventually(t, "each target once again", func() bool { return count() == want })
}

// The parts that are scraped: those that a deployment may have more or less of, and the
// others.
var (
	twoServers = []string{serverService, serverService}
	others     = []string{"consul", "haproxy", forwarderService, forwarderService, "prometheus", "prometheus-remote-receiver"}
)

// allUp wants every part to be scraped: the others, and these.
func allUp(t *testing.T, target *harness.Compose, parts ...string) {
	t.Helper()
	want := slices.Sorted(slices.Values(slices.Concat(others, parts)))
	harness.Eventually(t, "every target to be up", func() bool {
		var up []string
		for point := range harness.Get(t, target.HAProxy().RPC, "grpc", "up").Points {
			if point.Value == "1" {
				_, job, _ := strings.Cut(point.Series, `job="`)
				job, _, _ = strings.Cut(job, `"`)
				up = append(up, job)
			}
		}
		slices.Sort(up)
		return slices.Equal(up, want)
	})
}

// failAndCompare makes failures, and those that only containers have, and wants what
// Prometheus has since a start.
func failAndCompare(t *testing.T, target *harness.Compose, start time.Time, list []failure) {
	t.Helper()
	scraped := map[string]string{"job": "prometheus"}
	testFailures(t, target, append(slices.Clone(list), failure{name: "server's container recreated", run: func(t *testing.T, r *rig) {
		target.Recreate(harness.ServerPart(2))
		r.await(t)
	}}, failure{name: "HAProxy restarted", broken: true, run: func(t *testing.T, r *rig) {
		target.Terminate(harness.HAProxyPart)
		target.Start(harness.HAProxyPart)
		r.await(t)
	}})).compareFiles(t)

	// They were stopped for the comparison of the files; all that Prometheus scraped
	// until then has been written.
	end := time.Now()
	target.Start(harness.ForwarderPart(1))
	target.Start(harness.ForwarderPart(2))
	target.Start(harness.PrometheusPart)
	t.Run("Prometheus", func(t *testing.T) {
		want := target.Prometheus().Read(t, scraped, start, end)
		for _, protocol := range protocols {
			got := harness.Get(t, target.HAProxy().RPC, protocol, fmt.Sprintf("{job=%q}", scraped["job"]), "--since=1h").Points.Until(end)
			harness.Equal(t, "replay over "+protocol, want, got)
		}
		t.Logf("%d samples are the same as in Prometheus", len(want))
	})
	t.Run("client after all", func(t *testing.T) { following(t, target) })
	target.Healthy()
}

// following wants the client's log to go on.
func following(t *testing.T, target *harness.Compose) {
	t.Helper()
	since := time.Now().Format(time.RFC3339)
	harness.Eventually(t, "the client's output", func() bool {
		return strings.Contains(target.Logs("prometheus-grpc-client", "--since="+since), `up{`)
	})
}
