package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestPipeline has real Prometheus servers write, and compares what the client
// prints with what their own HTTP APIs answer.
func TestPipeline(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{Forwarder: []string{"--storage.segment.duration=5s"}})
	start := time.Now()
	var senders []*harness.Prometheus
	for _, o := range []harness.PrometheusOptions{
		{Name: "prometheus2", Tool: "prometheus2"},
		{Name: "prometheus3", Tool: "prometheus3"},
		{Name: "prometheus3-v2", Tool: "prometheus3", Message: "io.prometheus.write.v2.Request"},
	} {
		o.URL, o.Target = cluster.WriteURL(), harness.StartApp(t)
		senders = append(senders, harness.StartPrometheus(t, o))
	}
	// A follower from the start has to end up with the same as everyone.
	follower := harness.Follow(t, cluster.RPCs(), "grpc", "--since=1h")
	time.Sleep(15 * time.Second)
	metadata := map[string][]harness.Metadata{}
	for _, p := range senders {
		for family, list := range p.Metadata(t) {
			metadata[family] = append(metadata[family], list...)
		}
		p.Freeze(t)
	}
	time.Sleep(time.Second) // what was being scraped
	at := time.Now()

	for _, p := range senders {
		t.Run(p.Name, func(t *testing.T) {
			w := want{
				selector: fmt.Sprintf(`{sender=%q}`, p.Name),
				points:   p.Read(t, map[string]string{"sender": p.Name}, start, at),
			}
			w.visible = p.Query(t, w.selector+"[1h]", at)
			w.live = p.Live(t, w.selector, at)
			w.exemplars = p.Exemplars(t, w.selector, start, at)
			t.Log(w.summary())
			for i := range cluster.Servers {
				w.await(t, cluster.RPC(i))
				for _, protocol := range protocols {
					w.compareReplay(t, fmt.Sprintf("server %d over %s", i+1, protocol), cluster.RPC(i), protocol)
					w.compareSnapshot(t, fmt.Sprintf("server %d over %s", i+1, protocol), cluster.RPC(i), protocol)
				}
			}
			followed := func() harness.Points {
				return follower.Points().Visible().Filter(func(point harness.Point) bool {
					return strings.Contains(point.Series, fmt.Sprintf(`sender=%q`, p.Name))
				})
			}
			harness.Eventually(t, "the rest at the follower", func() bool { return followed().Missing(w.visible) == 0 })
			harness.Equal(t, "follower", w.visible, followed())
		})
	}
	t.Run("metadata", func(t *testing.T) {
		for i := range cluster.Servers {
			for _, protocol := range protocols {
				compareMetadata(t, metadata, harness.GetMetadata(t, cluster.RPC(i), protocol))
			}
		}
	})
	t.Logf("%d segments are the same on all", cluster.CompareFiles())
}

// want is what a Prometheus says that it has.
type want struct {
	selector  string
	points    harness.Points // bit for bit, by remote read
	visible   harness.Points // by a query for a range
	exemplars harness.Points
	live      map[string]string // values by series, by a query for an instant
}

func (w want) summary() string {
	var ints, floats, custom, stale int
	for point := range w.points {
		switch {
		case point.Value == "stale":
			stale++
		case strings.Contains(point.Value, "schema=-53"):
			custom++
		case strings.HasPrefix(point.Value, "int"):
			ints++
		case strings.HasPrefix(point.Value, "float"):
			floats++
		}
	}
	return fmt.Sprintf("%d samples, of which native histograms of integers %d, of floats %d, with custom buckets %d; stale markers %d; %d exemplars; %d live series",
		len(w.points), ints, floats, custom, stale, len(w.exemplars), len(w.live))
}

// await waits until a server has what Prometheus was still to send.
func (w want) await(t *testing.T, address string) {
	t.Helper()
	for range 100 {
		got := harness.Get(t, address, "grpc", w.selector, "--since=1h")
		if got.Points.Missing(w.points) == 0 && got.Exemplars.Missing(w.exemplars) == 0 {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// compareReplay wants exactly the samples and exemplars that Prometheus has.
func (w want) compareReplay(t *testing.T, what, address, protocol string) {
	t.Helper()
	wire := harness.Get(t, address, protocol, w.selector, "--since=1h")
	harness.Equal(t, what, w.points, wire.Points)
	harness.Equal(t, what+": exemplars", w.exemplars, wire.Exemplars)
	json := harness.GetJSON(t, address, protocol, w.selector, "--since=1h")
	harness.Equal(t, what+" as JSON", w.visible, json.Points.Visible())
	harness.Equal(t, what+" as JSON: exemplars", w.exemplars, json.Exemplars)
}

// compareSnapshot wants exactly the series that are live in Prometheus, each
// with its latest sample.
func (w want) compareSnapshot(t *testing.T, what, address, protocol string) {
	t.Helper()
	for point, n := range harness.Get(t, address, protocol, w.selector).Points {
		if n != 1 || w.points[point] != 1 {
			t.Errorf("%s: the snapshot has %+v %d times, Prometheus %d times", what, point, n, w.points[point])
		}
	}
	live := map[string]string{}
	for point := range harness.GetJSON(t, address, protocol, w.selector).Points.Visible() {
		live[point.Series] = point.Value
	}
	for series, value := range w.live {
		if live[series] != value {
			t.Errorf("%s: %s is %q in the snapshot, %q by an instant query", what, series, live[series], value)
		}
	}
	for series, value := range live {
		if _, ok := w.live[series]; !ok {
			t.Errorf("%s: %s is %q in the snapshot, and not live in Prometheus", what, series, value)
		}
	}
}

// compareMetadata wants every family that any Prometheus knows, as one of them
// has it: they share the names, and the last word wins.
func compareMetadata(t *testing.T, want map[string][]harness.Metadata, got map[string]harness.Metadata) {
	t.Helper()
	for family, list := range want {
		known := false
		for _, m := range list {
			known = known || m == got[family]
		}
		if !known {
			t.Errorf("metadata of %s is %+v, want one of %+v", family, got[family], list)
		}
	}
}
