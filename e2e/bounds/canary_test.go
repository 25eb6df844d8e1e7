package bounds

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/prometheus/prompb"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

const (
	canaryEvery   = 50 * time.Millisecond
	snapshotEvery = 250 * time.Millisecond
	// patience is how long the canary waits for what has to come.
	patience = 60 * time.Second
)

// canary writes a sample every now and then, follows it at each server, and asks
// for snapshots. It looks as one of many clients does: its address is nobody
// else's, and it repeats what it is asked to repeat.
type canary struct {
	t   *testing.T
	url string

	mu      sync.Mutex
	due     []time.Time // when each sample was to be written
	arrived []map[int]time.Time
	writes  []event // answers other than 204
	asked   []event // snapshots
}

// event is something that was asked of a server, and took its time.
type event struct {
	server int
	begin  time.Time
	took   time.Duration
	err    error
}

func startCanary(t *testing.T, c *harness.Cluster) *canary {
	y := &canary{t: t, url: c.WriteURL()}
	inBackground(t, y.write)
	for i := range c.Servers {
		y.arrived = append(y.arrived, map[int]time.Time{})
		inBackground(t, func(ctx context.Context) { y.follow(ctx, i, c.RPC(i)) })
		inBackground(t, func(ctx context.Context) { y.ask(ctx, i, c.RPC(i)) })
	}
	return y
}

// inBackground runs what until the test ends.
func inBackground(t *testing.T, what func(ctx context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { what(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
}

// write writes sample after sample, each of which is late by what those before it
// took too long.
func (y *canary) write(ctx context.Context) {
	begin := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		due := begin.Add(time.Duration(n) * canaryEvery)
		time.Sleep(time.Until(due))
		y.mu.Lock()
		y.due = append(y.due, due)
		y.mu.Unlock()
		body := harness.Encode(y.t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
			Labels:  []prompb.Label{{Name: "__name__", Value: "canary"}},
			Samples: []prompb.Sample{{Value: float64(n), Timestamp: time.Now().UnixMilli()}},
		}}})
		for ctx.Err() == nil {
			start := time.Now()
			status, answer, err := harness.Write(y.url, body)
			if err == nil && status == http.StatusNoContent {
				break
			}
			if err == nil {
				err = fmt.Errorf("status %d: %s", status, answer)
			}
			y.mu.Lock()
			y.writes = append(y.writes, event{0, start, time.Since(start), err})
			y.mu.Unlock()
			time.Sleep(canaryEvery)
		}
	}
}

func (y *canary) follow(ctx context.Context, server int, address string) {
	client, err := promgrpc.New([]string{address}, promgrpc.Options{})
	if err != nil {
		y.t.Error(err)
		return
	}
	defer client.Close()
	for u, err := range client.Get(ctx, promgrpc.Selection{Selectors: []string{"canary"}, Since: new(time.Now().Add(-time.Hour)), Follow: true}) {
		if err != nil {
			if ctx.Err() == nil {
				y.t.Errorf("the canary follows server %d no more: %v", server, err)
			}
			return
		}
		now := time.Now()
		y.mu.Lock()
		for _, s := range u.GetTimeseries() {
			for _, x := range s.GetSamples() {
				y.arrived[server][int(x.GetValue())] = now
			}
		}
		y.mu.Unlock()
	}
}

// ask asks for one snapshot after the other, each on a connection of its own.
func (y *canary) ask(ctx context.Context, server int, address string) {
	for ctx.Err() == nil {
		start := time.Now()
		err := snapshot(ctx, address)
		if ctx.Err() != nil {
			return
		}
		y.mu.Lock()
		y.asked = append(y.asked, event{server, start, time.Since(start), err})
		y.mu.Unlock()
		time.Sleep(snapshotEvery)
	}
}

// snapshot gets one series.
func snapshot(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DialContext: (&net.Dialer{Timeout: patience}).DialContext}
	defer transport.CloseIdleConnections()
	s, err := metricsv1connect.NewMetricsServiceClient(&http.Client{Transport: transport}, "http://"+address, connect.WithGRPC()).
		GetMetrics(ctx, connect.NewRequest(&metricsv1.GetMetricsRequest{Selectors: []string{"canary"}}))
	if err != nil {
		return err
	}
	defer s.Close()
	series := 0
	for s.Receive() {
		series += len(s.Msg().GetTimeseries())
	}
	if err := s.Err(); err != nil {
		return err
	}
	if series != 1 {
		return fmt.Errorf("%d series rather than one", series)
	}
	return nil
}

// health is how the canary fared in a while.
type health struct {
	follow    []time.Duration // sorted, of samples at all servers
	snapshots []time.Duration // sorted
	failed    []event         // snapshots
	refused   []error         // of writes
}

// at returns the value that a part of the durations is not above.
func at(sorted []time.Duration, part float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(part*float64(len(sorted)-1))]
}

func (h health) String() string {
	ms := func(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
	return fmt.Sprintf("follow p50 %s p95 %s max %s, %d snapshots p95 %s, %d failed, %d writes refused",
		ms(at(h.follow, 0.5)), ms(at(h.follow, 0.95)), ms(at(h.follow, 1)),
		len(h.snapshots), ms(at(h.snapshots, 0.95)), len(h.failed), len(h.refused))
}

// since returns how the canary has fared since then, when all that was to be
// written since then has arrived, or does not arrive while others are running.
func (y *canary) since(begin time.Time, running func() bool) health {
	end := time.Now()
	for time.Since(end) < patience && !y.complete(begin, end) && running() {
		time.Sleep(10 * time.Millisecond)
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	var h health
	for n, due := range y.due {
		if due.Before(begin) || due.After(end) {
			continue
		}
		for server := range y.arrived {
			arrived, ok := y.arrived[server][n]
			if !ok {
				arrived = time.Now()
			}
			h.follow = append(h.follow, arrived.Sub(due))
		}
	}
	for _, e := range y.asked {
		switch {
		case e.begin.Before(begin) || e.begin.After(end):
		case e.err != nil:
			h.failed = append(h.failed, e)
		default:
			h.snapshots = append(h.snapshots, e.took)
		}
	}
	for _, e := range y.writes {
		if !e.begin.Before(begin) && !e.begin.After(end) {
			h.refused = append(h.refused, e.err)
		}
	}
	slices.Sort(h.follow)
	slices.Sort(h.snapshots)
	return h
}

// complete says whether what was due between the times has arrived everywhere,
// and snapshots that were asked for have come.
func (y *canary) complete(begin, end time.Time) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.due) == 0 || y.due[len(y.due)-1].Before(end) || len(y.asked) == 0 || y.asked[len(y.asked)-1].begin.Before(end) {
		return false
	}
	for n, due := range y.due {
		if due.Before(begin) || due.After(end) {
			continue
		}
		for server := range y.arrived {
			if _, ok := y.arrived[server][n]; !ok {
				return false
			}
		}
	}
	return true
}
