package bounds

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/promgrpc/exporter/e2e/harness"
)

var (
	boundsFor    = flag.Duration("bounds-for", time.Second, "how long each attack lasts")
	boundsLate   = flag.Duration("bounds-late", 10*time.Second, "how late a sample may be while one attacks")
	boundsSeries = flag.Int("bounds-series", 20_000, "series that there are")
)

const (
	// several attackers, after one.
	several = 4
	// mostStreams that an attack may have a server hold open.
	mostStreams = several * 100
	// series of a request of the load, and how often all of them come.
	perRequest = 2000
	loadEvery  = 2 * time.Second
	// tenfold of what it is without attack is how late a sample may be in any case,
	// and several attackers take several times the machine's time for themselves.
	tenfold = 10
)

// rig is a pipeline under attack, with a canary in it.
type rig struct {
	*harness.Cluster

	t       *testing.T
	configs harness.Configs
	canary  *canary
	calm    health
	before  map[*harness.Process]int64 // heap
}

// live is how many series the pipeline may hold, and so what its memory is for.
func live() int { return 2 * *boundsSeries }

// newRig starts a pipeline that rotates all the time, writes its series over and
// over, and has a look at how the canary fares before the attack.
func newRig(t *testing.T, o harness.Options) *rig {
	o.Receiver = append([]string{"--limit.inflight-bytes=32MiB", "--limit.request-bytes=8MiB"}, o.Receiver...)
	o.Forwarder = append([]string{
		"--limit.inflight-bytes=64MiB", "--limit.request-bytes=8MiB", "--limit.decoded-bytes=8388608",
		fmt.Sprint("--limit.live-series=", live()), "--storage.segment.duration=5s", "--storage.series-idle=10s",
	}, o.Forwarder...)
	o.Server = append([]string{"--limit.link-bytes=64MiB", "--limit.stream-bytes=64MiB", "--limit.evaluation-time=250ms", "--limit.window-bytes=64MiB", "--limit.query-bytes=64MiB"}, o.Server...)
	o.Forwarders = 1 // All attacks and all load meet at one.
	r := &rig{t: t, Cluster: harness.NewCluster(t, o), before: map[*harness.Process]int64{}}
	r.configs = r.Configs()
	for _, p := range r.Processes() {
		if err := p.Confine(r.Bound(p, harness.Load{Series: live(), Streams: mostStreams})); err != nil {
			t.Logf("%s is not confined, only watched: %v", p.Name, err)
		}
	}
	r.load(t.Context())
	inBackground(t, func(ctx context.Context) {
		for ctx.Err() == nil {
			begin := time.Now()
			r.load(ctx)
			select {
			case <-time.After(time.Until(begin.Add(loadEvery))):
			case <-ctx.Done():
			}
		}
	})
	r.canary = startCanary(t, r.Cluster)
	harness.Eventually(t, "the canary's first snapshots", func() bool {
		return r.canary.complete(time.Time{}, time.Now().Add(-canaryEvery))
	})
	begin := time.Now()
	time.Sleep(max(2*time.Second, *boundsFor/2))
	r.calm = r.canary.since(begin, r.running)
	t.Logf("without attack: %s", r.calm)
	if len(r.calm.failed)+len(r.calm.refused) > 0 {
		t.Fatalf("without attack: %v %v", r.calm.failed, r.calm.refused)
	}
	for _, p := range r.Processes() {
		r.before[p] = r.heap(p)
	}
	return r
}

// load writes one sample of every series. What is refused because of an attack
// comes the next time.
func (r *rig) load(ctx context.Context) {
	for n := 0; n < *boundsSeries && ctx.Err() == nil; n += perRequest {
		var list []prompb.TimeSeries
		for i := n; i < min(n+perRequest, *boundsSeries); i++ {
			list = append(list, prompb.TimeSeries{
				Labels: []prompb.Label{
					{Name: "__name__", Value: "load"}, {Name: "id", Value: strconv.Itoa(i)}, {Name: "job", Value: strconv.Itoa(i % 7)},
					{Name: "path", Value: fmt.Sprintf("/api/v1/namespaces/%d/pods/%d/log", i%100, i)},
				},
				Samples: []prompb.Sample{{Value: float64(time.Now().UnixNano()), Timestamp: time.Now().UnixMilli()}},
			})
		}
		_, _, _ = harness.Write(r.WriteURL(), harness.Encode(r.t, &prompb.WriteRequest{Timeseries: list}))
	}
}

// heap is what the memory of a process holds, as it says itself.
func (r *rig) heap(p *harness.Process) int64 {
	res, err := http.Get("http://" + p.Listening("web") + "/metrics")
	if err != nil {
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "go_memstats_heap_inuse_bytes "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return 0
			}
			return int64(v)
		}
	}
	return 0
}

// withstands attacks by one attacker and by several, and fails the test if anybody
// else notices.
func (r *rig) withstands(t *testing.T, attacks []attack) {
	for _, k := range attacks {
		t.Run(strings.ReplaceAll(k.name, " ", "_"), func(t *testing.T) {
			if k.before != nil {
				k.before(r)
			}
			for _, attackers := range []int{1, several} {
				r.withstand(t, k, attackers)
			}
		})
	}
}

func (r *rig) withstand(t *testing.T, k attack, attackers int) {
	for _, p := range r.Processes() {
		p.ResetPeak()
	}
	begin := time.Now()
	got := r.launch(k, attackers, *boundsFor)
	h := r.canary.since(begin, r.running)
	alive := r.alive(t)
	t.Logf("%d: %s", attackers, got)
	t.Logf("%d: %s", attackers, h)
	if !alive {
		return
	}
	r.within(t, harness.Load{Series: live(), Streams: attackers * k.streams, Connections: attackers * k.callers})
	if len(k.refusals) > 0 && !got.any(k.refusals) {
		t.Errorf("the attacker was not told any of %q, but: %s", k.refusals, got)
	}
	most := max(*boundsLate, tenfold*at(r.calm.follow, 0.95)) * time.Duration(attackers)
	if k.queue {
		most = patience
	}
	if late := at(h.follow, 0.95); late > most {
		t.Errorf("samples were %s late, without attack %s: more than %s", late, at(r.calm.follow, 0.95), most)
	}
	for _, e := range h.failed {
		// Several addresses may hold all that there is of something together. Then a
		// client has to go elsewhere.
		if attackers == 1 || e.server > 0 {
			t.Errorf("a snapshot of server %d failed: %v", e.server, e.err)
		}
	}
	if len(h.snapshots) == 0 {
		t.Error("no snapshot came")
	}
	if attackers == 1 {
		for _, err := range h.refused {
			t.Errorf("a sample of another sender was refused: %v", err)
		}
	}
}

// running says whether all processes are.
func (r *rig) running() bool {
	for _, p := range r.Processes() {
		if !p.Running() {
			return false
		}
	}
	return true
}

// alive fails the test if a process has died, and starts it again for what comes
// next.
func (r *rig) alive(t *testing.T) bool {
	alive := true
	for _, p := range r.Processes() {
		if p.Running() {
			continue
		}
		alive = false
		t.Errorf("%s has died", p.Name)
		p.Restart()
		p.Ready(p.Listening("web"))
	}
	return alive
}

// within fails the test for a process that took more memory than the formula
// allows.
func (r *rig) within(t *testing.T, l harness.Load) {
	var texts []string
	for _, p := range r.Processes() {
		m, bound := p.Memory(), r.Bound(p, l)
		texts = append(texts, fmt.Sprintf("%s %d of %d MiB", p.Name, m.Peak>>20, bound>>20))
		if m.Peak > bound {
			t.Errorf("%s took %d MiB, the bound is %d MiB", p.Name, m.Peak>>20, bound>>20)
		}
	}
	t.Log(strings.Join(texts, ", "))
}

// fallsBack waits until each process holds about what it held before. What was
// freed is seen when garbage is collected the next time, two minutes later at
// most; the load makes some meanwhile. What the attacks have had stored takes some
// more at a server.
func (r *rig) fallsBack(t *testing.T, stored int64) {
	const (
		collected = 5 * time.Minute
		more      = 64 << 20
	)
	begin := time.Now()
	for _, p := range r.Processes() {
		most, now := 2*r.before[p]+more+stored, r.heap(p)
		for now > most && time.Since(begin) < collected {
			time.Sleep(time.Second)
			now = r.heap(p)
		}
		t.Logf("%s: heap %d MiB before, %d MiB after %s", p.Name, r.before[p]>>20, now>>20, time.Since(begin).Round(time.Second))
		if now > most {
			t.Errorf("%s holds %d MiB, before the attacks %d MiB", p.Name, now>>20, r.before[p]>>20)
		}
	}
}
