package e2e

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
)

var (
	overloadFor     = flag.Duration("overload-for", 4*time.Second, "how long senders send more than is possible")
	overloadSeries  = flag.Int("overload-series", 50_000, "new series")
	overloadReaders = flag.Int("overload-readers", 90, "following clients that read")
	overloadStalled = flag.Int("overload-stalled", 10, "following clients that do not")
)

// flood posts what next returns from so many senders until it returns nil, and
// fails the test for an answer that is neither 204 nor 503 with Retry-After. It
// calls accepted for each body that was stored.
func flood(t *testing.T, url string, senders int, next func() (id int, body []byte), accepted func(id int)) (stored, refused int64) {
	t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	defer client.CloseIdleConnections()
	var ok, busy atomic.Int64
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for id, body := next(); body != nil; id, body = next() {
				for again := true; again; {
					r, _ := http.NewRequest(http.MethodPost, url, strings.NewReader(string(body)))
					r.Header.Set("Content-Type", "application/x-protobuf")
					r.Header.Set("Content-Encoding", "snappy")
					res, err := client.Do(r)
					if err != nil {
						t.Errorf("post: %v", err)
						return
					}
					_ = res.Body.Close()
					again = false
					switch {
					case res.StatusCode == http.StatusNoContent:
						ok.Add(1)
						accepted(id)
					case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
						busy.Add(1)
						time.Sleep(10 * time.Millisecond)
						again = true
					default:
						t.Errorf("status %d, Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
					}
				}
			}
		})
	}
	wg.Wait()
	return ok.Load(), busy.Load()
}

// within fails the test for a process that took more memory than
// docs/guarantees.md says.
func within(t *testing.T, c *harness.Cluster, l harness.Load) {
	t.Helper()
	for _, p := range c.Processes() {
		m, bound := p.Memory(), c.Bound(p, l)
		t.Logf("%s: at most %d MiB, %d MiB now, the bound is %d MiB", p.Name, m.Peak>>20, m.RSS>>20, bound>>20)
		if m.Peak > bound {
			t.Errorf("%s used %d MiB, the bound is %d MiB", p.Name, m.Peak>>20, bound>>20)
		}
	}
}

// TestOverloadRate sends more than the pipeline can take, from 128 senders that
// do not wait while the forwarder stands still for a second in the midst. What
// was answered with 204 is at both servers.
func TestOverloadRate(t *testing.T) {
	c := harness.NewCluster(t, harness.Options{Forwarders: 1, Receiver: []string{"--limit.inflight-bytes=1MiB", "--limit.request-bytes=1MiB"}, Server: []string{"--limit.window-bytes=64MiB", "--limit.query-bytes=64MiB"}})
	var number atomic.Int64
	ids, end := sync.Map{}, time.Now().Add(*overloadFor)
	next := func() (int, []byte) {
		if time.Now().After(end) {
			return 0, nil
		}
		id, now := int(number.Add(1)), time.Now().UnixMilli()
		list := []prompb.TimeSeries{{
			Labels: []prompb.Label{{Name: "__name__", Value: "request"}, {Name: "id", Value: fmt.Sprint(id)}}, Samples: []prompb.Sample{{Value: 1, Timestamp: now}},
		}}
		for i := range 2000 {
			list = append(list, prompb.TimeSeries{
				Labels:  []prompb.Label{{Name: "__name__", Value: "load"}, {Name: "i", Value: fmt.Sprint(i)}, {Name: "sender", Value: fmt.Sprint(id % 16)}},
				Samples: []prompb.Sample{{Value: float64(id), Timestamp: now}},
			})
		}
		return id, harness.Encode(t, &prompb.WriteRequest{Timeseries: list})
	}
	inBackground(t, func(ctx context.Context) {
		time.Sleep(*overloadFor / 2)
		c.Forwarders[0].Signal(syscall.SIGSTOP)
		time.Sleep(time.Second)
		c.Forwarders[0].Signal(syscall.SIGCONT)
	})
	stored, refused := flood(t, c.WriteURL(), 128, next, func(id int) { ids.Store(fmt.Sprint(id), true) })
	t.Logf("%d requests stored, %d times refused, in %s", stored, refused, *overloadFor)
	if stored == 0 || refused == 0 {
		t.Errorf("%d requests stored, %d refused: no overload", stored, refused)
	}
	for i := range c.Servers {
		awaitIDs(t, c.RPC(i), &ids)
	}
	within(t, c, harness.Load{Series: 16*2000 + int(stored), Connections: 128})
}

// awaitIDs waits until a server serves all series of the requests.
func awaitIDs(t *testing.T, address string, ids *sync.Map) {
	t.Helper()
	client, err := promgrpc.New([]string{address}, promgrpc.Options{})
	succeed(t, err)
	defer client.Close()
	missing := 0
	harness.Eventually(t, "what was stored", func() bool {
		got := map[string]bool{}
		for u, err := range client.Get(t.Context(), promgrpc.Selection{Selectors: []string{"request"}, Since: new(time.Now().Add(-time.Hour))}) {
			succeed(t, err)
			for _, s := range u.GetTimeseries() {
				for _, l := range s.GetLabels() {
					if l.GetName() == "id" {
						got[l.GetValue()] = true
					}
				}
			}
		}
		missing = 0
		ids.Range(func(id, _ any) bool {
			if !got[id.(string)] {
				missing++
			}
			return true
		})
		return missing == 0
	})
}

// TestOverloadSeries brings new series as fast as they can be sent.
func TestOverloadSeries(t *testing.T) {
	c := harness.NewCluster(t, harness.Options{})
	const each = 1000
	var number atomic.Int64
	next := func() (int, []byte) {
		id, now := int(number.Add(1)), time.Now().UnixMilli()
		if id > *overloadSeries/each {
			return 0, nil
		}
		var list []prompb.TimeSeries
		for i := range each {
			list = append(list, prompb.TimeSeries{
				Labels: []prompb.Label{
					{Name: "__name__", Value: "container_memory_working_set_bytes"}, {Name: "container", Value: "main"}, {Name: "i", Value: fmt.Sprint(i)},
					{Name: "namespace", Value: fmt.Sprint("namespace-", id%50)}, {Name: "pod", Value: fmt.Sprintf("pod-%d-%d", id, i/10)},
				},
				Samples: []prompb.Sample{{Value: 1, Timestamp: now}},
			})
		}
		return id, harness.Encode(t, &prompb.WriteRequest{Timeseries: list})
	}
	start := time.Now()
	stored, refused := flood(t, c.WriteURL(), 8, next, func(int) {})
	t.Logf("%d series in %s, %d times refused", stored*each, time.Since(start).Round(time.Millisecond), refused)
	for i := range c.Servers {
		client, err := promgrpc.New([]string{c.RPC(i)}, promgrpc.Options{})
		succeed(t, err)
		harness.Eventually(t, "all series", func() bool {
			n := 0
			for u, err := range client.Get(t.Context(), promgrpc.Selection{Selectors: []string{"container_memory_working_set_bytes"}}) {
				succeed(t, err)
				n += len(u.GetTimeseries())
			}
			return n == *overloadSeries
		})
		client.Close()
	}
	within(t, c, harness.Load{Series: *overloadSeries})
}

// TestOverloadReaders has many following clients, some of which read nothing.
// Those that read get everything while the others still hold their streams.
func TestOverloadReaders(t *testing.T) {
	c := harness.NewCluster(t, harness.Options{Servers: 1, Server: []string{"--stream.stall-timeout=10m"}})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	samples, pad := 0, random(10_000)
	send := func(pad string) {
		samples++
		now := time.Now().UnixMilli()
		list := []prompb.TimeSeries{{Labels: []prompb.Label{{Name: "__name__", Value: "small"}}, Samples: []prompb.Sample{{Value: float64(samples), Timestamp: now}}}}
		if pad != "" {
			for i := range 20 {
				list = append(list, prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: "big"}, {Name: "i", Value: fmt.Sprint(i)}, {Name: "pad", Value: pad}}, Samples: []prompb.Sample{{Value: float64(samples), Timestamp: now}}})
			}
		}
		status, answer, err := harness.Write(c.WriteURL(), harness.Encode(t, &prompb.WriteRequest{Timeseries: list}))
		if err != nil || status != http.StatusNoContent {
			t.Fatalf("%d %s %v", status, answer, err)
		}
	}
	send("")
	var mu sync.Mutex
	var delays []time.Duration
	got := make([]atomic.Int64, *overloadReaders)
	var readers sync.WaitGroup
	for i := range *overloadReaders {
		client, err := promgrpc.New([]string{c.RPC(0)}, promgrpc.Options{})
		succeed(t, err)
		readers.Go(func() {
			defer client.Close()
			for u, err := range client.Get(ctx, promgrpc.Selection{Selectors: []string{"small"}, Follow: true}) {
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Errorf("reader: %v", err)
					return
				}
				for _, s := range u.GetTimeseries() {
					for _, x := range s.GetSamples() {
						d := time.Since(time.UnixMilli(x.GetTimestamp()))
						if x.GetValue() != float64(got[i].Load()+1) && got[i].Load() != 0 {
							t.Errorf("reader %d: sample %v after %d", i, x.GetValue(), got[i].Load())
						}
						got[i].Store(int64(x.GetValue()))
						mu.Lock()
						delays = append(delays, d)
						mu.Unlock()
					}
				}
			}
		})
	}
	allHave := func() bool {
		for i := range got {
			if got[i].Load() != int64(samples) {
				return false
			}
		}
		return true
	}
	measure := func(what string) {
		harness.Eventually(t, "all readers to keep up", allHave)
		mu.Lock()
		delays = nil
		mu.Unlock()
		for range 50 {
			send(pad)
			time.Sleep(100 * time.Millisecond)
		}
		harness.Eventually(t, "all readers to keep up", allHave)
		mu.Lock()
		slices.Sort(delays)
		t.Logf("%s: %d deliveries, p50 %s, p99 %s, at most %s", what, len(delays), delays[len(delays)/2], delays[len(delays)*99/100], delays[len(delays)-1])
		mu.Unlock()
	}
	measure("alone")
	for range *overloadStalled {
		conn, err := grpc.NewClient(c.RPC(0), grpc.WithTransportCredentials(insecure.NewCredentials()))
		succeed(t, err)
		defer conn.Close()
		s, err := metricsv1grpc.NewMetricsServiceClient(conn).GetMetrics(ctx, &metricsv1.GetMetricsRequest{Selectors: []string{"big"}, Follow: true})
		succeed(t, err)
		_, err = s.Header() // it is open, and nothing is read
		succeed(t, err)
	}
	measure("with those that do not read")
	for range 100 { // until what lies between fills
		send(pad)
	}
	measure("when those are blocked")
	// The readers were served beside the others, not after those were cut off.
	harness.Eventually(t, "all streams to be open still", func() bool {
		open, err := metric(c.Servers[0].Listening("web"), "promgrpc_server_streams")
		succeed(t, err)
		return open == float64(*overloadReaders+*overloadStalled)
	})
	within(t, c, harness.Load{Series: 21, Streams: *overloadReaders + *overloadStalled})
	cancel()
	readers.Wait()
}

// metric is the sum of a metric that a process shows.
func metric(address, name string) (sum float64, err error) {
	res, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	scanner := bufio.NewScanner(res.Body)
	for scanner.Scan() {
		rest, ok := strings.CutPrefix(scanner.Text(), name)
		if !ok || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndex(rest, " ")+1:], 64)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, scanner.Err()
}

// random is text that does not compress.
func random(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + rand.N(26))
	}
	return string(b)
}
