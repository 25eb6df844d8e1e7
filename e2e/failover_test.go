package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestFailover kills the server that clients follow. They go on at the other
// one, with no gap and no duplicate, and come through its death as well once
// the first is back.
func TestFailover(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{})
	sender := harness.NewSender(t, cluster.WriteURL(), "failover", 20)
	followers := map[string]*harness.Follower{}
	for _, protocol := range protocols {
		followers[protocol] = harness.Follow(t, cluster.RPCs(), protocol, `{job="failover"}`, "--since=1h")
	}
	sender.Start(50 * time.Millisecond)
	await := func(what string) {
		t.Helper()
		want := sender.Acknowledged()
		start := time.Now()
		for protocol, f := range followers {
			harness.Eventually(t, what+" over "+protocol, func() bool { return f.Points().Missing(want) == 0 })
		}
		t.Logf("%s: %d samples at all clients after %s", what, len(want), time.Since(start).Round(time.Millisecond))
	}
	time.Sleep(time.Second)
	await("both servers up")

	cluster.Servers[0].Kill()
	time.Sleep(time.Second)
	await("server 1 killed")

	cluster.Servers[0].Restart()
	cluster.Ready()
	cluster.Servers[1].Kill()
	time.Sleep(time.Second)
	await("server 2 killed, server 1 back")

	cluster.Servers[1].Restart()
	cluster.Ready()
	if code := cluster.Servers[0].Terminate(20 * time.Second); code != 0 {
		t.Errorf("server 1 ended with the code %d", code)
	}
	time.Sleep(time.Second)
	await("server 1 drained, server 2 back")

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
