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
//
// The comparison is as of an instant in the past, since something is always
// under way. For that it ends the receiver, so that the servers hold still.
func TestPipeline(t *testing.T) {
	t.Parallel()
	testPipeline(t,
		harness.PrometheusOptions{Name: "prometheus3", Tool: "prometheus3"},
		harness.PrometheusOptions{Name: "prometheus3-v2", Tool: "prometheus3", Message: "io.prometheus.write.v2.Request"},
	)
}

func testPipeline(t *testing.T, options ...harness.PrometheusOptions) {
	cluster := harness.NewCluster(t, harness.Options{Forwarder: []string{"--storage.segment.duration=5s"}})
	start := time.Now()
	var senders []*harness.Prometheus
	for _, o := range options {
		o.URL, o.Target = cluster.WriteURL(), harness.StartApp(t)
		senders = append(senders, harness.StartPrometheus(t, o))
	}
	follower := harness.Follow(t, cluster.RPCs(), "grpc", "--since=1h")
	time.Sleep(15 * time.Second)
	at := time.Now()
	time.Sleep(2 * time.Second) // for what is being scraped, and exemplars of before that come with the next scrape

	metadata := map[string][]harness.Metadata{}
	var wants []*want
	for _, p := range senders {
		for family, list := range p.Metadata(t) {
			metadata[family] = append(metadata[family], list...)
		}
		w := newWant(t, p, start, at)
		for i := range cluster.Servers {
			w.await(t, cluster.RPC(i))
		}
		wants = append(wants, w)
	}
	if code := cluster.Receiver.Terminate(20 * time.Second); code != 0 {
		t.Errorf("the receiver ended with the code %d", code)
	}
	for _, w := range wants {
		t.Run(w.name, func(t *testing.T) {
			t.Log(w.summary())
			for i := range cluster.Servers {
				for _, protocol := range protocols {
					w.compare(t, fmt.Sprintf("server %d over %s", i+1, protocol), cluster.RPC(i), protocol)
				}
			}
			harness.Equal(t, "follower", w.visible, follower.Points().Until(at).Visible().Filter(func(point harness.Point) bool {
				return strings.Contains(point.Series, fmt.Sprintf(`sender=%q`, w.name))
			}))
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

// want is what a Prometheus says that it has, as of an instant.
type want struct {
	name     string
	selector string
	at       time.Time
	points   harness.Points // bit for bit, by remote read
	// histograms says that points has these too.
	histograms bool
	visible    harness.Points // by a query for a range
	exemplars  harness.Points
}

func newWant(t *testing.T, p *harness.Prometheus, start, at time.Time) *want {
	t.Helper()
	selector := fmt.Sprintf(`{sender=%q}`, p.Name)
	return &want{
		name: p.Name, selector: selector, at: at,
		points:     p.Read(t, map[string]string{"sender": p.Name}, start, at),
		histograms: p.Name != "prometheus2",
		visible:    p.Query(t, selector+"[1h]", at),
		exemplars:  p.Exemplars(t, selector, start, at),
	}
}

func (w *want) summary() string {
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
	return fmt.Sprintf("%d samples by query; %d by remote read, of which native histograms of integers %d, of floats %d, with custom buckets %d; stale markers %d; %d exemplars; %d series",
		len(w.visible), len(w.points), ints, floats, custom, stale, len(w.exemplars), len(w.points.Latest()))
}

// await waits until a server has what Prometheus was still to send, or it is
// clear that it will not come.
func (w *want) await(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		got := harness.Get(t, address, "grpc", w.selector, "--since=1h")
		if got.Points.Missing(w.points) == 0 && got.Exemplars.Missing(w.exemplars) == 0 {
			return
		}
	}
}

// compare wants exactly the samples and exemplars that Prometheus has, and in
// the snapshot exactly the latest of each series that has not gone stale.
func (w *want) compare(t *testing.T, what, address, protocol string) {
	t.Helper()
	wire := harness.Get(t, address, protocol, w.selector, "--since=1h")
	got := wire.Points.Until(w.at)
	if !w.histograms {
		got = got.Filter(func(point harness.Point) bool { return !point.IsHistogram() })
	}
	harness.Equal(t, what, w.points, got)
	harness.Equal(t, what+": exemplars", w.exemplars, wire.Exemplars.Until(w.at))

	json := harness.GetJSON(t, address, protocol, w.selector, "--since=1h")
	harness.Equal(t, what+" as JSON", w.visible, json.Points.Until(w.at).Visible())
	harness.Equal(t, what+" as JSON: exemplars", w.exemplars, json.Exemplars.Until(w.at))

	snapshot := harness.Get(t, address, protocol, w.selector).Points
	harness.Equal(t, what+": snapshot", wire.Points.Latest().Visible(), snapshot)
	snapshot = harness.GetJSON(t, address, protocol, w.selector).Points
	harness.Equal(t, what+" as JSON: snapshot", json.Points.Latest().Visible(), snapshot)
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
