package e2e

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// pairFailover is how long the elected of the pair has to be silent in the test.
const pairFailover = 8 * time.Second

// pair is two Prometheus servers that scrape the same, each of which writes by a forwarder of
// its own.
type pair struct {
	t        *testing.T
	cluster  *harness.Cluster
	target   string
	urls     map[string]string // where each replica writes to
	elects   []*harness.Process
	senders  map[string]*harness.Prometheus
	follower *harness.Follower
}

func startPair(t *testing.T) *pair {
	flags := []string{"--ha", "--ha.failover=" + pairFailover.String()}
	p := &pair{t: t, cluster: harness.NewCluster(t, harness.Options{Forwarder: flags}), target: harness.StartApp(t), senders: map[string]*harness.Prometheus{}}
	p.elects, p.urls = p.cluster.Forwarders, map[string]string{}
	for i, replica := range []string{"a", "b"} {
		receiver := harness.Start(t, "receiver of "+replica, harness.Binary(t, "prometheus-remote-receiver"),
			"--web.listen-address="+harness.Host()+":0", "--forwarder="+p.elects[i].Listening("link"))
		receiver.Ready(receiver.Listening("web"))
		p.urls[replica] = "http://" + receiver.Listening("web") + "/api/v1/write"
	}
	p.follower = harness.Follow(t, p.cluster.RPCs(), "grpc", "--since=1h", `up{job="app"}`)
	return p
}

// start starts one of the pair, b by remote write 2.0.
func (p *pair) start(replica string) {
	o := harness.PrometheusOptions{
		Name: "pair", Tool: "prometheus3", URL: p.urls[replica], Target: p.target,
		Labels: "cluster: c, __replica__: " + replica,
	}
	if replica == "b" {
		o.Message = "io.prometheus.write.v2.Request"
	}
	p.senders[replica] = harness.StartPrometheus(p.t, o)
}

var electedMetric = regexp.MustCompile(`promgrpc_forwarder_ha_elected\{cluster="c",replica="(.)",tenant=""\} 1`)

// elected waits until both forwarders have elected the same replica, other than one.
func (p *pair) elected(but string) string {
	p.t.Helper()
	var found []string
	harness.Eventually(p.t, "both forwarders have elected the same, but not "+but, func() bool {
		found = nil
		for _, f := range p.elects {
			if m := electedMetric.FindStringSubmatch(p.metrics(f)); m != nil {
				found = append(found, m[1])
			}
		}
		return len(found) == len(p.elects) && found[0] == found[1] && found[0] != but
	})
	return found[0]
}

func (p *pair) metrics(f *harness.Process) string {
	p.t.Helper()
	res, err := http.Get("http://" + f.Listening("web") + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// scraped are the samples that a replica has itself, as they come out if it is elected.
func (p *pair) scraped(replica string, from, to time.Time) harness.Points {
	p.t.Helper()
	points := harness.Points{}
	for x, n := range p.senders[replica].Read(p.t, map[string]string{"__name__": "up", "job": "app"}, from, to) {
		own := fmt.Sprintf(`__replica__=%q,`, replica)
		if !strings.Contains(x.Series, own) || !strings.Contains(x.Series, `cluster="c"`) {
			p.t.Fatalf("series %s", x.Series)
		}
		x.Series = strings.Replace(x.Series, own, "", 1)
		points[x] += n
	}
	return points
}

// follows compares what came out with what a replica scraped, in an interval in which it was
// the elected.
func (p *pair) follows(replica string, from, to time.Time) {
	p.t.Helper()
	want := p.scraped(replica, from, to)
	if len(want) < 2 {
		p.t.Fatalf("%d samples were scraped", len(want))
	}
	harness.Eventually(p.t, "all samples of "+replica, func() bool { return p.follower.Points().Missing(want) == 0 })
	got := p.follower.Points().Until(to).Filter(func(x harness.Point) bool { return x.Time >= from.UnixMilli() })
	harness.Equal(p.t, "the samples of "+replica, want, got)
}

// settled lets the pair go on for some seconds, and returns when they began and ended.
func settled() (from, to time.Time) {
	from = time.Now()
	time.Sleep(5 * time.Second)
	to = time.Now()
	time.Sleep(time.Second) // for what is being scraped
	return from, to
}

// TestPairs has a real HA pair write by two forwarders. Each sample comes out once, of the
// elected, without the label that tells the two apart. When the elected dies, those of the
// other come, and it stays that one when the first comes back.
func TestPairs(t *testing.T) {
	t.Parallel()
	p := startPair(t)
	p.start("a")
	p.start("b")
	first := p.elected("")
	from, to := settled()
	p.follows(first, from, to)

	p.senders[first].Kill()
	second := p.elected(first)
	harness.Eventually(t, "samples of the other", func() bool {
		return len(p.follower.Points().Filter(func(x harness.Point) bool { return x.Time > to.Add(pairFailover).UnixMilli() })) > 0
	})
	from, to = settled()
	p.follows(second, from, to)

	before := p.dropped()
	p.start(first)
	harness.Eventually(t, "what comes back is dropped", func() bool { return p.dropped() > before })
	from, to = settled()
	p.follows(second, from, to)
	if now := p.elected(""); now != second {
		t.Errorf("%s is elected", now)
	}
	for x := range p.follower.Points() {
		if strings.Contains(x.Series, "__replica__") {
			t.Errorf("series %s", x.Series)
		}
	}
}

// dropped counts what the forwarders have dropped.
func (p *pair) dropped() (sum float64) {
	p.t.Helper()
	for _, f := range p.elects {
		n, err := metric(f.Listening("web"), "promgrpc_forwarder_ha_dropped_total")
		if err != nil {
			p.t.Fatal(err)
		}
		sum += n
	}
	return sum
}
