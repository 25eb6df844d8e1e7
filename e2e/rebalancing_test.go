//go:build debian || compose

package e2e

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/e2e/harness"
)

// maxAge of streams, in tests that wait until they have moved.
const maxAge = 10 * time.Second

// TestRebalancing restarts both servers, one after the other, which leaves all
// followers at the one that was restarted first. They spread again as their streams
// get old, also over a server that is added, and miss nothing.
func TestRebalancing(t *testing.T) {
	const followers = 100
	target := harness.NewLocal(t, harness.Options{Server: []string{"--stream.max-age=" + maxAge.String()}})
	sender := harness.NewSender(t, target.WriteURL(), "rebalancing", 2)
	sender.Start(200 * time.Millisecond)
	var all []*follower
	for i := range followers {
		protocol := promgrpc.Protocol(protocols[i%len(protocols)])
		all = append(all, startFollower(t, target.HAProxy().RPC, nil, protocol, `{job="rebalancing"}`))
	}
	harness.Eventually(t, "all followers", func() bool { _, sum := spread(target.HAProxy()); return sum == followers })
	for _, part := range []string{harness.ServerPart(1), harness.ServerPart(2)} {
		target.Terminate(part)
		target.Start(part)
		target.HAProxy().Await(t, 2)
	}
	awaitSpread := func(servers int) {
		t.Helper()
		least, sum := spread(target.HAProxy())
		t.Logf("of %d streams, the server with the fewest has %d", sum, least)
		start := time.Now()
		harness.Eventually(t, "followers to spread", func() bool {
			least, sum = spread(target.HAProxy())
			return sum == followers && least*servers*10 >= followers*8
		})
		t.Logf("of %d streams, the server with the fewest has %d, after %s; they move after %s",
			sum, least, time.Since(start).Round(time.Millisecond), maxAge)
	}
	awaitSpread(2) // 40:60 at least
	target.Start(harness.ServerPart(3))
	target.HAProxy().Await(t, 3)
	awaitSpread(3)

	sender.Stop()
	want := sender.Acknowledged()
	for _, f := range all {
		harness.Eventually(t, "all that was sent", func() (whole bool) {
			f.look(func(got harness.Points) { whole = got.Missing(want) == 0 })
			return whole
		})
		f.look(func(got harness.Points) { harness.Equal(t, f.name, want, got) })
	}
}

// spread is how many streams and calls HAProxy has open at the server with the
// fewest, of those that are up, and at all.
func spread(h *harness.HAProxy) (least, sum int) {
	first := true
	for _, row := range h.Servers() {
		n, _ := strconv.Atoi(row["scur"])
		if first || n < least {
			least = n
		}
		first = false
		sum += n
	}
	return least, sum
}

// followersSpread is the failure after which one server has all followers.
var followersSpread = failure{name: "both servers restarted, until followers are spread", run: func(t *testing.T, r *rig) {
	for _, part := range []string{harness.ServerPart(1), harness.ServerPart(2)} {
		r.target.Terminate(part)
		r.target.Start(part)
		r.target.HAProxy().Await(t, r.servers)
	}
	start := time.Now()
	harness.Eventually(t, fmt.Sprintf("%d servers to have a fair part of the followers", r.servers), func() bool {
		least, _ := spread(r.target.HAProxy())
		return least*r.servers*10 >= (len(r.library)+len(r.programs))*8
	})
	t.Logf("after %s, streams move after %s", time.Since(start).Round(time.Millisecond), maxAge)
}}
