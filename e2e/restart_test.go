package e2e

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestRestart ends each process in turn, by a kill and by a signal, and starts
// it again on its folder, under load. Segments are short, so that restarts meet
// rotation as well. What was acknowledged is on both servers, once.
func TestRestart(t *testing.T) {
	t.Parallel()
	storage := []string{"--storage.segment.duration=2s"}
	cluster := harness.NewCluster(t, harness.Options{Forwarder: storage})
	sender := harness.NewSender(t, cluster.WriteURL(), "restart", 20)
	follower := harness.Follow(t, cluster.RPCs(), "grpc", `{job="restart"}`, "--since=1h")
	sender.Start(20 * time.Millisecond)
	for _, end := range []struct {
		name string
		end  func(*harness.Process)
	}{
		{"kill", (*harness.Process).Kill},
		{"terminate", func(p *harness.Process) {
			if code := p.Terminate(20 * time.Second); code != 0 {
				t.Errorf("%s ended with the code %d", p.Name, code)
			}
		}},
	} {
		for _, p := range cluster.Processes() {
			time.Sleep(300 * time.Millisecond)
			end.end(p)
			time.Sleep(100 * time.Millisecond)
			start := time.Now()
			p.Restart()
			p.Ready(p.Listening("web"))
			t.Logf("%s %s: ready again after %s", end.name, p.Name, time.Since(start).Round(time.Millisecond))
		}
	}
	time.Sleep(300 * time.Millisecond)
	sender.Stop()
	want := sender.Acknowledged()
	t.Logf("%d samples, %d requests repeated", len(want), sender.Retries())
	awaitPoints(t, cluster, `{job="restart"}`, want)
	harness.Eventually(t, "the rest at the follower", func() bool { return follower.Points().Missing(want) == 0 })
	harness.Equal(t, "follower", want, follower.Points())
	t.Logf("%d segments are the same on all", cluster.CompareFiles())
}

// TestMillionSeries restarts a server that has a million series.
//
// It is to be ready within 5 s. The test fails only when it is far from that,
// since machines may be slow; the figure is in its log.
func TestMillionSeries(t *testing.T) {
	const total, batch = 1_000_000, 10_000
	cluster := harness.NewCluster(t, harness.Options{Forwarders: 1, Servers: 1})
	start := time.Now()
	for n := 0; n < total; n += batch {
		if status, answer, err := harness.Write(cluster.WriteURL(), million(t, n, batch)); err != nil || status != 204 {
			t.Fatalf("write: %d %s %v", status, answer, err)
		}
	}
	t.Logf("%d series written after %s", total, time.Since(start).Round(time.Millisecond))
	server := cluster.Servers[0]
	last := fmt.Sprintf(`{series="%d"}`, total-1)
	awaitSeries(t, cluster, last, 1)
	t.Logf("and at the server after %s; its memory: %d MiB, the forwarder's %d MiB",
		time.Since(start).Round(time.Millisecond), server.Memory().RSS>>20, cluster.Forwarders[0].Memory().RSS>>20)

	for _, p := range []*harness.Process{server, cluster.Forwarders[0]} {
		p.Kill()
		start = time.Now()
		p.Restart()
		p.Ready(p.Listening("web"))
		ready := time.Since(start)
		t.Logf("%s with %d series: ready %s after its start, with %d MiB", p.Name, total, ready.Round(time.Millisecond), p.Memory().RSS>>20)
		if ready > 30*time.Second {
			t.Errorf("%s took %s to be ready, 5 s are the aim", p.Name, ready)
		}
	}
	awaitSeries(t, cluster, last, 1)
}

// million makes a request of count series from the number first on.
func million(t *testing.T, first, count int) []byte {
	t.Helper()
	now := time.Now().UnixMilli()
	request := prompb.WriteRequest{}
	for i := first; i < first+count; i++ {
		request.Timeseries = append(request.Timeseries, prompb.TimeSeries{
			Labels: []prompb.Label{
				{Name: "__name__", Value: "http_requests_total"}, {Name: "code", Value: "200"},
				{Name: "handler", Value: "/api/v1/query_range"}, {Name: "instance", Value: fmt.Sprintf("10.0.%d.%d:9100", i/250%250, i%250)},
				{Name: "job", Value: "million"}, {Name: "series", Value: strconv.Itoa(i)},
			},
			Samples: []prompb.Sample{{Value: float64(i), Timestamp: now}},
		})
	}
	return harness.Encode(t, &request)
}
