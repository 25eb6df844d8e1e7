//go:build debian

package e2e

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestFailuresOfPair ends the one of an HA pair that is elected. Until then its samples
// come, each once, and none of the other's; then the other's do.
func TestFailuresOfPair(t *testing.T) {
	const failover = 5 * time.Second
	target := harness.NewLocal(t, harness.Options{Forwarder: []string{"--ha", "--ha.cluster-label=job", "--ha.failover=" + failover.String()}})
	start := func(replica string) *harness.Sender {
		s := harness.NewSender(t, target.WriteURL(), "pair", 3).With(map[string]string{"__replica__": replica})
		s.Start(50 * time.Millisecond)
		return s
	}
	f := harness.Follow(t, target.HAProxy().RPC, "grpc", `{job="pair"}`, "--since=1h")
	elected := start("a")
	harness.Eventually(t, "its samples", func() bool { return len(f.Points()) > 0 })
	other := start("b")
	time.Sleep(settle)

	elected.Stop()
	ended := time.Now()
	want := elected.Acknowledged()
	harness.Eventually(t, "all samples of the one", func() bool { return f.Points().Missing(want) == 0 })
	harness.Equal(t, "until it ended", want, f.Points().Until(ended))
	last := latestTime(want)
	harness.Eventually(t, "samples of the other", func() bool { return latestTime(f.Points()) > last })
	time.Sleep(settle)
	other.Stop()

	first := int64(math.MaxInt64)
	for p := range f.Points() {
		if p.Time > last {
			first = min(first, p.Time)
		}
	}
	rest := func(of harness.Points) harness.Points {
		return of.Filter(func(p harness.Point) bool { return p.Time >= first })
	}
	want = rest(other.Acknowledged())
	harness.Eventually(t, "the rest of the other", func() bool { return f.Points().Missing(want) == 0 })
	harness.Equal(t, "since then", want, rest(f.Points()))
	fmt.Printf("| failure | without samples |\n|---|---|\n| an HA pair's elected one killed, `--ha.failover` is %s | %s |\n", failover, time.Duration(first-last)*time.Millisecond)
}

// latestTime is the newest timestamp of some samples.
func latestTime(of harness.Points) (at int64) {
	for p := range of {
		at = max(at, p.Time)
	}
	return at
}
