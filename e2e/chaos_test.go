package e2e

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestChaos kills, drains, stops and restarts processes at random, while
// several senders write and clients follow over all protocols.
func TestChaos(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{Forwarder: []string{"--storage.segment.duration=1s"}})
	var senders []*harness.Sender
	for i := range 4 {
		s := harness.NewSender(t, cluster.WriteURL(), fmt.Sprintf("chaos%d", i), 10)
		s.Start(20 * time.Millisecond)
		senders = append(senders, s)
	}
	const selector = `{job=~"chaos.*"}`
	var followers []*harness.Follower
	for _, protocol := range protocols {
		followers = append(followers, harness.Follow(t, cluster.RPCs(), protocol, selector, "--since=1h"))
	}
	faults := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); faults++ {
		time.Sleep(time.Duration(50+rand.IntN(250)) * time.Millisecond)
		p := cluster.Processes()[rand.IntN(len(cluster.Processes()))]
		switch rand.IntN(4) {
		case 0:
			if code := p.Terminate(20 * time.Second); code != 0 {
				t.Errorf("%s ended with the code %d", p.Name, code)
			}
			p.Restart()
		case 1:
			p.Signal(syscall.SIGSTOP)
			time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
			p.Signal(syscall.SIGCONT)
		default:
			p.Kill()
			p.Restart()
		}
		p.Listening("web") // the end of its start, for Restart
	}
	want, retries := harness.Points{}, 0
	for _, s := range senders {
		s.Stop()
		retries += s.Retries()
		for point, n := range s.Acknowledged() {
			want[point] += n
		}
	}
	t.Logf("%d faults; %d samples, %d requests repeated", faults, len(want), retries)
	awaitPoints(t, cluster, selector, want)
	for i, f := range followers {
		harness.Eventually(t, "the rest over "+protocols[i], func() bool { return f.Points().Missing(want) == 0 })
		harness.Equal(t, protocols[i], want, f.Points())
	}
	t.Logf("%d segments are the same on all", cluster.CompareFiles())
}
