package e2e

import (
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
