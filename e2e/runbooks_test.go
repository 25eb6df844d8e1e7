package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/promgrpc/exporter/e2e/harness"
)

const runbooks = "docs/runbooks.md"

// TestRunbooks runs the commands of the runbooks, in their order, on a deployment to which
// happens what they are for.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	bucket := harness.StartBucket(t)
	cluster := harness.NewCluster(t, harness.Options{Bucket: bucket, Forwarder: []string{"--ha"}, Server: []string{"--bucket.interval=1s"}})
	write(t, cluster, series(map[string]string{"__name__": "kept"}, 1))
	awaitSeries(t, cluster, "kept", 1)
	var links, forwarders []string
	for _, s := range cluster.Servers {
		links = append(links, s.Listening("link"))
	}
	for _, f := range cluster.Forwarders {
		forwarders = append(forwarders, f.Listening("web"))
	}
	env := append(bucket.Env, "SERVERS="+cluster.RPCs(), "FORWARDERS="+strings.Join(forwarders, " "), "SERVER_LINKS="+strings.Join(links, ","),
		"PEERS="+cluster.RPCs(), "BUCKET="+bucket.URL, "DATA="+t.TempDir())

	runbook(t, "Runbooks", env)
	runbook(t, "A server is lost", env)
	awaitElection(t, cluster)
	runbook(t, "One of an HA pair is silent", env)
	harness.Eventually(t, "pieces in the bucket", func() bool {
		pieces, err := filepath.Glob(filepath.Join(bucket.Folder, "*", "*.part", "*"))
		return err == nil && len(pieces) > 0
	})
	runbook(t, "Moving to a bucket", env)
	bucket.Kill()
	write(t, cluster, series(map[string]string{"__name__": "kept"}, 2))
	bucket.Restart()
	bucket.Await()
	runbook(t, "The bucket is away", env)
	cluster.Forwarders[0].Kill()
	runbook(t, "A forwarder is lost", env)
	runbook(t, "A log that was left behind", env)
}

// TestRunbooksOfGroups is TestRunbooks of two groups behind routers.
func TestRunbooksOfGroups(t *testing.T) {
	t.Parallel()
	consul := harness.StartConsul(t)
	cluster := harness.NewCluster(t, harness.Options{Consul: consul, Groups: []string{"a", "b"}, Forwarders: 1})
	sender := harness.NewSender(t, cluster.WriteURL(), "runbooks", 20)
	sender.Start(100 * time.Millisecond)
	follower := harness.Follow(t, cluster.Routed(), "grpc", `{job="runbooks"}`, "--since=1h")
	env := []string{
		"ROUTERS=" + cluster.Routed(), "GROUPS_FILE=" + cluster.GroupsFile(),
		"NEW_FORWARDERS=consul://" + consul.HTTP + "/metrics-forwarder?tag=c", "NEW_SERVERS=consul://" + consul.HTTP + "/prometheus-api-server?tag=c",
	}
	// all waits until the follower has what was written from now on, too.
	all := func() {
		t.Helper()
		before := len(sender.Acknowledged())
		harness.Eventually(t, "the sender to go on", func() bool { return len(sender.Acknowledged()) > before+100 })
		want := sender.Acknowledged()
		harness.Eventually(t, "all samples", func() bool { return follower.Points().Missing(want) == 0 })
	}
	all()
	for _, s := range cluster.Groups[1].Servers {
		s.Kill()
	}
	harness.Eventually(t, "word of the group", func() bool {
		_, told := follower.Stderr().Find("no server answers of: b")
		return told
	})
	runbook(t, "A group is away", env)
	for _, s := range cluster.Groups[1].Servers {
		s.Restart()
	}
	all()
	added := cluster.StartGroup("c")
	cluster.Ready()
	runbook(t, "A group is added", env)
	harness.Eventually(t, "samples at the new group", func() bool {
		return len(harness.Get(t, added.Servers[0].Listening("rpc"), "grpc", `{job="runbooks"}`).Points) > 0
	})
	all()
	runbook(t, "A group is taken away", env)
	time.Sleep(50 * time.Second)
	all()
	sender.Stop()
	want := sender.Acknowledged()
	harness.Eventually(t, "the rest", func() bool { return follower.Points().Missing(want) == 0 })
	harness.Equal(t, "followed", want, follower.Points())
}

// awaitElection has one of an HA pair write until all forwarders know that it is elected.
func awaitElection(t *testing.T, cluster *harness.Cluster) {
	t.Helper()
	body := harness.Encode(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{
		series(map[string]string{"__name__": "paired", "cluster": "c", "__replica__": "a"}, 1),
	}})
	harness.Eventually(t, "one of the pair is elected", func() bool {
		status, _, err := harness.Write(cluster.WriteURL(), body)
		for _, f := range cluster.Forwarders {
			elected, failed := metric(f.Listening("web"), "promgrpc_forwarder_ha_elected")
			if err != nil || failed != nil || status != http.StatusNoContent || elected != 1 {
				return false
			}
		}
		return true
	})
}

// runbook runs the commands of a section, each as a shell of its own.
func runbook(t *testing.T, section string, env []string) {
	t.Helper()
	text, err := os.ReadFile(harness.File(runbooks))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut("\n"+string(text), "# "+section+"\n")
	own, _, _ := strings.Cut(rest, "\n## ")
	blocks := fence.FindAllStringSubmatch(own, -1)
	if !found || len(blocks) == 0 {
		t.Fatalf("%s has no commands under %q", runbooks, section)
	}
	replace := strings.NewReplacer("127.0.0.1:18071", harness.Address(t, harness.Host()),
		"127.0.0.1:18090", harness.Address(t, harness.Host()), "127.0.0.1:18091", harness.Address(t, harness.Host())).Replace
	path := "PATH=" + filepath.Dir(harness.Binary(t, "prometheus-grpc-client")) + ":" + os.Getenv("PATH")
	for _, block := range blocks {
		p := harness.StartEnv(t, section, append([]string{path}, env...), "bash", "-euo", "pipefail", "-c",
			"trap 'jobs -p | xargs -r kill; wait' EXIT\n"+replace(block[2]))
		if code := p.Wait(time.Minute); code != 0 {
			t.Errorf("%s ended with the code %d:\n%s\n%s%s", section, code, block[2], p.Stdout().String(), p.Stderr().String())
		}
	}
}
