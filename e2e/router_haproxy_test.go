//go:build debian

package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

const (
	routedJob      = "routed"
	routedSelector = `{job="routed"}`
)

// routed are two groups with two servers each, whose routers are behind HAProxy, a sender
// whose series are in both, and who follows them over each protocol.
type routed struct {
	*harness.Local
	sender      *harness.Sender
	followers   map[string]*harness.Follower // by protocol
	subscribers map[string]*harness.Follower
	since       time.Time // the first step that the subscribers ask for
	terms       []string  // what else they ask for
}

func newRouted(t *testing.T) *routed {
	t.Helper()
	r := &routed{
		Local:     harness.NewLocal(t, harness.Options{Groups: []string{"a", "b"}, Forwarders: 1, Router: []string{"--drain.delay=2s"}}),
		followers: map[string]*harness.Follower{}, subscribers: map[string]*harness.Follower{},
	}
	r.sender = harness.NewSender(t, r.WriteURL(), routedJob, 20)
	r.sender.Start(50 * time.Millisecond)
	harness.Eventually(t, "samples", func() bool { return len(r.sender.Acknowledged()) > 100 })
	r.since = time.Now().Truncate(queryStep).Add(queryStep)
	r.terms = []string{`sum(rate(sent_total{job="routed"}[10s])) or vector(0)`, "--since=" + strconv.FormatInt(r.since.UnixMilli(), 10),
		"--step=" + queryStep.String(), "--delay=2s", "--output=json"}
	for _, protocol := range protocols {
		r.followers[protocol] = harness.Follow(t, r.HAProxy().RPC, protocol, routedSelector, "--since=1h", "--heartbeat="+heartbeat.String())
		args := append([]string{"query", "--follow", "--heartbeat=1s", "--address=" + r.HAProxy().RPC, "--protocol=" + protocol}, r.terms...)
		r.subscribers[protocol] = harness.NewFollower(t, harness.Start(t, "query-"+protocol, harness.Binary(t, "prometheus-grpc-client"), args...))
	}
	return r
}

// await waits until all who follow have what was acknowledged by now, and steps of later.
func (r *routed) await(t *testing.T, what string) {
	t.Helper()
	start, want := time.Now(), r.sender.Acknowledged()
	for protocol, f := range r.followers {
		harness.Eventually(t, what+": samples over "+protocol, func() bool { return f.Points().Missing(want) == 0 })
	}
	for protocol, f := range r.subscribers {
		harness.Eventually(t, what+": steps over "+protocol, func() bool { return newest(f.Points()) > start.UnixMilli() })
	}
	t.Logf("%s: samples and steps at all who follow after %s", what, time.Since(start).Round(time.Millisecond))
}

// finish ends it, and wants all samples once at all who follow, and the same at each router.
func (r *routed) finish(t *testing.T) {
	t.Helper()
	r.sender.Stop()
	want := r.sender.Acknowledged()
	for protocol, f := range r.followers {
		harness.Eventually(t, "all samples over "+protocol, func() bool { return f.Points().Missing(want) == 0 })
		harness.Equal(t, "followed over "+protocol, want, f.Points())
	}
	for i, router := range r.Routers {
		address := router.Listening("rpc")
		for _, protocol := range protocols {
			what := fmt.Sprintf("router %d over %s", i+1, protocol)
			harness.Equal(t, what, want, harness.Get(t, address, protocol, routedSelector, "--since=1h").Points)
			harness.Equal(t, what+": snapshot", want.Latest(), harness.Get(t, address, protocol, routedSelector).Points)
		}
	}
	t.Logf("%d segments are the same on the forwarders and servers", r.CompareFiles())
}

// finishSteps wants every step once at all who subscribed, equal to what each router replays.
func (r *routed) finishSteps(t *testing.T) {
	t.Helper()
	end := int64(math.MaxInt64)
	for _, f := range r.subscribers {
		f.Signal(syscall.SIGINT)
		f.Wait(10 * time.Second)
		end = min(end, newest(f.Points()))
	}
	for i, router := range r.Routers {
		address := router.Listening("rpc")
		_, stdout, stderr := harness.Client(t, append([]string{"query", "--address=" + address, "--end=" + strconv.FormatInt(end, 10)}, r.terms...)...)
		steps := harness.ParseJSON(t, stdout).Points
		if n := int((end-r.since.UnixMilli())/queryStep.Milliseconds()) + 1; len(steps) != n {
			t.Errorf("router %d: %d steps, want %d: %s", i+1, len(steps), n, stderr)
		}
		for protocol, f := range r.subscribers {
			harness.Equal(t, fmt.Sprintf("steps over %s, and of router %d", protocol, i+1), steps,
				f.Points().Filter(func(p harness.Point) bool { return p.Time <= end }))
		}
	}
}

// kill kills a part, and has it back when all goes on without.
func (r *routed) kill(t *testing.T, part string) {
	t.Helper()
	r.Kill(part)
	r.await(t, part+" killed")
	r.Start(part)
	r.HAProxy().Await(t, len(r.Routers))
}

// TestRouterFailover has routers and servers of groups killed, stopped and drained, and a
// whole group away, while clients follow through HAProxy over each protocol.
func TestRouterFailover(t *testing.T) {
	t.Parallel()
	r := newRouted(t)
	r.await(t, "all up")
	for n := range r.Routers {
		router := harness.RouterPart(n + 1)
		r.kill(t, router)
		r.Pause(router)
		r.await(t, router+" stopped")
		r.Continue(router)
		r.HAProxy().Await(t, len(r.Routers))
		r.Terminate(router)
		r.await(t, router+" drained")
		r.Start(router)
		r.HAProxy().Await(t, len(r.Routers))
	}
	r.kill(t, harness.ServerPart(1))
	r.kill(t, harness.ServerPart(4))
	t.Run("a group away", func(t *testing.T) { r.groupAway(t) })
	r.await(t, "all back")
	t.Run("client", func(t *testing.T) { r.client(t) })
	r.finish(t)
	r.finishSteps(t)
}

// groupAway has no server of a group answer. Who wants that refused is refused; who follows
// is told, and has the samples of the other group.
func (r *routed) groupAway(t *testing.T) {
	away := r.Groups[1].Servers
	for _, s := range away {
		s.Kill()
	}
	harness.Eventually(t, "a refusal that names the group", func() bool {
		code, _, stderr := harness.Client(t, "get", "--address="+r.HAProxy().RPC, "--when-away=refuse", routedSelector)
		return code != 0 && strings.Contains(string(stderr), "b")
	})
	for protocol, f := range r.followers {
		harness.Eventually(t, "word of the group over "+protocol, func() bool {
			_, told := f.Stderr().Find("no server answers of: b")
			return told
		})
	}
	for _, s := range away {
		s.Restart()
	}
	r.Ready()
}

// client calls as people do, with the terminal that --watch wants.
func (r *routed) client(t *testing.T) {
	address := "--address=" + r.HAProxy().RPC
	contains(t, run(t, nil, harness.Binary(t, "prometheus-grpc-client"), "get", address, `sent_total{series="7"}`), `series="7"`)
	contains(t, run(t, nil, harness.Binary(t, "prometheus-grpc-client"), "query", address, `count(sent_total{job="routed"})`), "20")
	contains(t, run(t, nil, harness.Binary(t, "prometheus-grpc-client"), "labels", address, "series"), "19")
	contains(t, run(t, nil, harness.Binary(t, "prometheus-grpc-client"), "status", address), "a", "b")
	terminal := []string{"-c", "import pty, sys; pty.spawn(sys.argv[1:])", harness.Binary(t, "prometheus-grpc-client")}
	for _, args := range [][]string{{"get", "--watch", address, `sent_total{job="routed"}`}, {"query", "--watch", address, `sum by (series) (sent_total{job="routed"})`}} {
		watch := harness.StartEnv(t, "watch", []string{"TERM=xterm"}, "/usr/bin/python3", append(slices.Clone(terminal), args...)...)
		harness.Eventually(t, "all series on the terminal", func() bool {
			out := watch.Stdout().Bytes()
			return bytes.Contains(out, []byte(`"0"`)) && bytes.Contains(out, []byte(`"19"`))
		})
		watch.Kill()
	}
}

// TestGroupAdded adds a group, and takes one away, while a sender writes and clients follow.
func TestGroupAdded(t *testing.T) {
	t.Parallel()
	r := newRouted(t)
	r.await(t, "two groups")
	c := r.StartGroup("c")
	r.Ready()
	moved := r.move(t, 2, harness.Epoch{Groups: []string{"a", "b"}}, harness.Epoch{Groups: []string{"a", "b", "c"}})
	got := harness.Get(t, c.Servers[0].Listening("rpc"), "grpc", routedSelector, "--since=1h").Points
	if before := got.Until(moved.Add(-time.Millisecond)); len(got) == 0 || len(before) > 0 {
		t.Errorf("the new group has %d samples, %d of before", len(got), len(before))
	}
	r.move(t, 3, harness.Epoch{Groups: []string{"a", "b"}}, harness.Epoch{From: moved, Groups: []string{"a", "b", "c"}}, harness.Epoch{Groups: []string{"a", "c"}})
	r.finish(t)
	r.finishSteps(t)
}

// move writes a groups file whose last epoch begins as soon as it may, and returns when
// samples of later are with all who follow.
func (r *routed) move(t *testing.T, version int, epochs ...harness.Epoch) time.Time {
	t.Helper()
	from := time.Now().Add(40 * time.Second).Truncate(time.Second)
	epochs[len(epochs)-1].From = from
	r.WriteGroups(version, epochs...)
	time.Sleep(time.Until(from.Add(3 * time.Second)))
	r.await(t, fmt.Sprint("version ", version))
	series := map[string]bool{}
	for p := range r.sender.Acknowledged() {
		if p.Time >= from.UnixMilli() {
			series[p.Series] = true
		}
	}
	if len(series) != 20 {
		t.Errorf("after version %d there are samples of %q", version, slices.Sorted(maps.Keys(series)))
	}
	return from
}
