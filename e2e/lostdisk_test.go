package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestForwardersDiskIsLost takes the forwarder with its disk, while one of two servers has
// not got the last blocks. With --ack.servers=1 the other one has all that was answered,
// and the one that lacks it gets it from there. What follows is in another log.
func TestForwardersDiskIsLost(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{Forwarders: 1, Consul: harness.StartConsul(t)})
	sender := harness.NewSender(t, cluster.WriteURL(), "lost", 20)
	follower := harness.Follow(t, cluster.RPCs(), "grpc", `{job="lost"}`, "--since=1h")
	sender.Start(20 * time.Millisecond)
	awaitMore := func() {
		t.Helper()
		before := len(sender.Acknowledged())
		harness.Eventually(t, "more is answered", func() bool { return len(sender.Acknowledged()) > before+400 })
	}
	awaitMore()
	lacking := cluster.Servers[1]
	lacking.Kill()
	awaitMore()
	cluster.LoseDisk(cluster.Forwarders[0])
	answered := sender.Acknowledged()
	lacking.Restart()
	for i := range cluster.Servers {
		harness.Eventually(t, "what was answered is at "+cluster.Servers[i].Name, func() bool {
			return harness.Get(t, cluster.RPC(i), "grpc", `{job="lost"}`, "--since=1h").Points.Missing(answered) == 0
		})
	}
	cluster.Forwarders[0].Restart()
	awaitMore()
	sender.Stop()
	harness.Eventually(t, "all of it at the follower", func() bool { return follower.Points().Missing(sender.Acknowledged()) == 0 })
	harness.Equal(t, "follower", sender.Acknowledged(), follower.Points())
	for i := range cluster.Servers {
		got := harness.Get(t, cluster.RPC(i), "grpc", `{job="lost"}`, "--since=1h")
		harness.Equal(t, cluster.Servers[i].Name, sender.Acknowledged(), got.Points)
	}
	cluster.Forwarders[0].Terminate(20 * time.Second)
	logs := map[string]int{}
	harness.Eventually(t, "both logs are the same at both servers", func() bool {
		ours, theirs := segmentsIn(t, cluster.Folder(cluster.Servers[0])), segmentsIn(t, cluster.Folder(cluster.Servers[1]))
		for name := range ours {
			logs[filepath.Dir(name)]++
		}
		return maps.Equal(ours, theirs)
	})
	if len(logs) != 2 {
		t.Errorf("%d logs", len(logs))
	}
}

// segmentsIn are the contents of all segments in a folder, by their logs and names.
func segmentsIn(t *testing.T, folder string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string]string{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		contents[filepath.Join(filepath.Base(filepath.Dir(name)), filepath.Base(name))] = string(b)
	}
	return contents
}

// TestTooFewServers has the forwarder say so when there are fewer servers than have to
// confirm, in its log, on its page and to the sender. What was sent meanwhile is stored
// once.
func TestTooFewServers(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{Forwarders: 1, Forwarder: []string{"--ack.servers=2", "--ack.timeout=1s"}})
	sender := harness.NewSender(t, cluster.WriteURL(), "few", 5)
	sender.Start(50 * time.Millisecond)
	harness.Eventually(t, "requests are answered", func() bool { return len(sender.Acknowledged()) > 25 })
	cluster.Servers[1].Kill()
	cluster.Forwarders[0].Logged("too few servers confirm what is stored", "servers=1", "ack_servers=2")
	harness.Eventually(t, "the sender repeats", func() bool { return sender.Retries() > 2 })
	if log := cluster.Receiver.Stderr().String(); !strings.Contains(log, "stored by the forwarder, and too few servers have confirmed it in time") {
		t.Errorf("the receiver does not say why: %s", log)
	}
	cluster.Servers[1].Restart()
	cluster.Forwarders[0].Logged("enough servers confirm what is stored again")
	before := len(sender.Acknowledged())
	harness.Eventually(t, "requests are answered again", func() bool { return len(sender.Acknowledged()) > before+25 })
	sender.Stop()
	for i := range cluster.Servers {
		got := harness.Get(t, cluster.RPC(i), "grpc", `{job="few"}`, "--since=1h")
		harness.Equal(t, cluster.Servers[i].Name, sender.Acknowledged(), got.Points)
	}
}
