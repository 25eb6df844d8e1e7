//go:build debian

package e2e

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// subscribed is what the subscribers of TestQueryFailover evaluate: a rate at each step
// and, since a series gets 20 samples in that time, at every third step series that are
// gone at the next.
const subscribed = `sum by (job) (rate(sent_total{job="query"}[10s])) or sum by (series) (sent_total{job="query"}) % 30 >= 20`

// queryStep is the time between two steps.
const queryStep = time.Second

// TestQueryFailover subscribes to an expression through HAProxy, over each protocol and
// from Python, while servers are killed, stopped and drained. Each subscriber has each
// step once, equal to what every server replays in the end.
func TestQueryFailover(t *testing.T) {
	t.Parallel()
	target := harness.NewLocal(t, harness.Options{})
	sender := harness.NewSender(t, target.WriteURL(), "query", 20)
	sender.Start(50 * time.Millisecond)
	harness.Eventually(t, "samples", func() bool { return len(sender.Acknowledged()) > 100 })
	since := time.Now().Truncate(queryStep).Add(queryStep) // It has a rate.
	terms := []string{subscribed, "--since=" + strconv.FormatInt(since.UnixMilli(), 10), "--step=" + queryStep.String(), "--delay=2s"}

	followers := map[string]*harness.Follower{}
	for _, protocol := range protocols {
		args := append([]string{"query", "--follow", "--heartbeat=1s", "--output=json", "--address=" + target.HAProxy().RPC, "--protocol=" + protocol}, terms...)
		followers[protocol] = harness.NewFollower(t, harness.Start(t, "query-"+protocol, harness.Binary(t, "prometheus-grpc-client"), args...))
	}
	// await waits until every subscriber has steps from now on.
	await := func(what string) {
		t.Helper()
		start := time.Now()
		for protocol, f := range followers {
			harness.Eventually(t, what+" over "+protocol, func() bool { return newest(f.Points()) > start.UnixMilli() })
		}
		t.Logf("%s: steps at all subscribers after %s", what, time.Since(start).Round(time.Millisecond))
	}
	await("both servers up")
	for n := 1; n <= 2; n++ {
		server := harness.ServerPart(n)
		target.Kill(server)
		await(server + " killed")
		target.Start(server)
		target.HAProxy().Await(t, 2)
		target.Pause(server)
		await(server + " stopped")
		target.Continue(server)
		target.HAProxy().Await(t, 2)
		target.Terminate(server)
		await(server + " drained")
		target.Start(server)
		target.HAProxy().Await(t, 2)
	}
	await("both servers up again")

	end := int64(math.MaxInt64)
	for protocol, f := range followers {
		f.Signal(syscall.SIGINT)
		if code := f.Wait(5 * time.Second); code != 0 {
			t.Errorf("%s: the client ended with the code %d", protocol, code)
		}
		end = min(end, newest(f.Points()))
	}
	until := func(points harness.Points) harness.Points {
		return points.Filter(func(p harness.Point) bool { return p.Time <= end })
	}
	for n := range target.Servers {
		_, stdout, stderr := harness.Client(t, append([]string{"query", "--output=json", "--address=" + target.RPC(n),
			"--end=" + strconv.FormatInt(end, 10)}, terms...)...)
		want := harness.ParseJSON(t, stdout).Points
		requireSteps(t, want, since.UnixMilli(), end)
		for protocol, f := range followers {
			harness.Equal(t, fmt.Sprintf("%s, and server %d: %s", protocol, n+1, stderr), want, until(f.Points()))
		}
	}
}

// newest returns the latest time of points.
func newest(points harness.Points) (t int64) {
	for p := range points {
		t = max(t, p.Time)
	}
	return t
}

// requireSteps requires a rate at each step, and series that went.
func requireSteps(t *testing.T, points harness.Points, start, end int64) {
	t.Helper()
	rates, gone := 0, 0
	for p := range points {
		switch {
		case strings.Contains(p.Series, "job="):
			rates++
		case p.Value == "stale":
			gone++
		}
	}
	if want := int((end-start)/queryStep.Milliseconds()) + 1; rates != want || gone == 0 {
		t.Errorf("%d steps with a rate, want %d; %d stale markers", rates, want, gone)
	}
}
