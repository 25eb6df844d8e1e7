package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/read"
	"github.com/promgrpc/exporter/bench/report"
	"github.com/promgrpc/exporter/bench/subject"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

const (
	// liveSeries is 67 pods, with a thousand series of what is subscribed to.
	liveSeries = report.LiveSeries
	// everySecond is the steps' length, and how often each series gets a sample.
	everySecond = time.Second
	// behind is how far a step lags behind its time unless a request says otherwise.
	behind = 10 * time.Second
	// filled is how much there is before it is subscribed to: what rate looks at.
	filled = time.Minute
)

var subscribed = []question{
	{report.StepRate, "rate(" + counts + "[1m])"},
	{report.StepSum, "sum by (job) (rate(" + counts + "[1m]))"},
}

// subscriptions measures steps of a second: streams of the project, and polling of peers.
func (b *bench) subscriptions(ctx context.Context) error {
	for _, k := range b.readers() {
		if k.Name == report.Windowless {
			continue
		}
		b.logger.Info("measure", "what", "steps", "system", k.Name)
		if err := b.stepsOf(ctx, k); err != nil {
			return fmt.Errorf("%s: %w", k.Name, err)
		}
	}
	return nil
}

// live is a system that gets a sample of each series every second.
type live struct {
	*subject.System
	bench *bench
	add   adder
	base  float64 // CPU-seconds a second of the store while nobody reads

	mu     sync.Mutex
	posted []time.Time
}

func (b *bench) stepsOf(ctx context.Context, k subject.Kind) error {
	past := int(filled / everySecond)
	runs := 1 + 2 + len(subscribed)*len(report.Crowds)
	rounds := past + runs*(int(b.live/everySecond)+10)
	l, err := load.Make(load.Plan{
		Profile: b.profile, Series: liveSeries, Rounds: rounds, PerRequest: b.perRequest, Version: 1, Interval: everySecond,
		Last: time.Now().Add(time.Duration(rounds-past) * everySecond),
	})
	if err != nil {
		return err
	}
	s, err := k.Start(ctx, b.options)
	if err != nil {
		return err
	}
	defer s.Stop()
	if _, err := b.ingest(ctx, k, s, l, 0, past); err != nil {
		return err
	}
	v := &live{System: s, bench: b, add: b.adder(liveSeries, k.Name)}
	sending, stop := context.WithCancel(ctx)
	var sender errgroup.Group
	sender.Go(func() error {
		to := b.sender(k, s, l)
		to.Connections, to.Rate, to.Sending = 1, float64(l.Plan.Requests())/everySecond.Seconds(), v.posting
		_, err := to.Send(sending, l.Rounds(past, rounds))
		if sending.Err() != nil {
			return nil //nolint:nilerr // it was stopped
		}
		return err
	})
	err = v.measure(ctx, k)
	stop()
	if failed := sender.Wait(); err == nil {
		err = failed
	}
	return err
}

// posting notes when a request was posted.
func (v *live) posting(int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.posted = append(v.posted, time.Now())
}

// dueSince returns how long a step has been due that came at a time: since the request was
// posted by which time went on, or, if it came before that, since the time itself.
func (v *live) dueSince(at, came time.Time) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	if i, _ := slices.BinarySearchFunc(v.posted, at, time.Time.Compare); i < len(v.posted) && v.posted[i].Before(came) {
		return came.Sub(v.posted[i])
	}
	return came.Sub(at)
}

func (v *live) measure(ctx context.Context, k subject.Kind) error {
	used, elapsed, err := v.during(ctx)
	if err != nil {
		return err
	}
	v.base = used / elapsed
	for _, q := range subscribed {
		for _, n := range report.Crowds {
			switch {
			case k.Project:
				err = v.subscribers(ctx, q, n)
			case n > 1: // What one poller costs is lost in what ingest takes.
				err = v.pollers(ctx, q, n)
			}
			if err != nil {
				return fmt.Errorf("%s for %d: %w", q.name, n, err)
			}
		}
	}
	if !k.Project {
		return nil
	}
	for name, references := range map[string]bool{report.RawReferences: true, report.RawLabels: false} {
		if err := v.raw(ctx, name, references); err != nil {
			return err
		}
	}
	return nil
}

// during waits for as long as is measured, and returns the CPU-seconds of the store.
func (v *live) during(ctx context.Context) (used, elapsed float64, err error) {
	began := time.Now()
	before, err := v.Servers[0].CPU()
	if err != nil {
		return 0, 0, err
	}
	select {
	case <-time.After(v.bench.live):
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	after, err := v.Servers[0].CPU()
	return (after - before).Seconds(), time.Since(began).Seconds(), err
}

// crowd is what readers got while it was measured.
type crowd struct {
	counting     atomic.Bool
	steps, bytes atomic.Int64
	mu           sync.Mutex
	delays       []time.Duration
}

func (c *crowd) got(bytes int, steps int64) {
	if c.counting.Load() {
		c.bytes.Add(int64(bytes))
		c.steps.Add(steps)
	}
}

// subscribers measures n of them.
func (v *live) subscribers(ctx context.Context, q question, n int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var c crowd
	var opening, reading errgroup.Group
	opening.SetLimit(50)
	for range n {
		opening.Go(func() error {
			stream, err := read.Subscribe(ctx, v.RPC, &queryv1.QueryRequest{
				Expression: q.expression, Step: durationpb.New(everySecond), Follow: true, LabelReferences: true,
			})
			if err != nil {
				return err
			}
			context.AfterFunc(ctx, func() { _ = stream.Close() })
			if err := untilSynced(stream); err != nil {
				return err
			}
			reading.Go(func() error { return v.take(stream, &c) })
			return nil
		})
	}
	if err := opening.Wait(); err != nil {
		return err
	}
	time.Sleep(2 * everySecond) // labels have been sent, and garbage of the start is collected
	c.counting.Store(true)
	used, elapsed, err := v.during(ctx)
	c.counting.Store(false)
	stop()
	_ = reading.Wait() // Each ended since it was stopped, or has brought less.
	if err != nil {
		return err
	}
	steps := elapsed / everySecond.Seconds()
	if got := float64(c.steps.Load()); got < float64(n)*(steps-2) {
		return fmt.Errorf("%.0f steps came in %.1f s", got, elapsed)
	}
	name := report.To(q.name, n)
	v.add(name+report.CPU, "s", (used-v.base*elapsed)/steps)
	v.add(name+report.Bytes, "B", float64(c.bytes.Load())/float64(c.steps.Load()))
	slices.Sort(c.delays)
	v.add(name+report.Half, "s", c.delays[len(c.delays)/2].Seconds())
	v.add(name+report.Most, "s", c.delays[len(c.delays)*99/100].Seconds())
	v.bench.logger.Info("subscribers", "what", name, "cpu_ms", 1e3*(used-v.base*elapsed)/steps, "p99", c.delays[len(c.delays)*99/100])
	return nil
}

func untilSynced(stream *read.Stream) error {
	for {
		message, err := stream.Next()
		if err != nil {
			return err
		}
		step, err := read.StepOf(message)
		if err != nil || step.Synced {
			return err
		}
	}
}

// take reads steps until the stream ends.
func (v *live) take(stream *read.Stream, c *crowd) error {
	for {
		message, err := stream.Next()
		if err != nil {
			return err
		}
		came := time.Now()
		step, err := read.StepOf(message)
		if err != nil {
			return err
		}
		if step.At.IsZero() {
			c.got(len(message), 0)
			continue
		}
		c.got(len(message), 1)
		if c.counting.Load() {
			delay := v.dueSince(step.At.Add(behind), came)
			c.mu.Lock()
			c.delays = append(c.delays, delay)
			c.mu.Unlock()
		}
	}
}

// pollers measures n who ask once a second each, spread over it. A system that does not
// come to it answers fewer.
func (v *live) pollers(ctx context.Context, q question, n int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: n}}
	defer client.CloseIdleConnections()
	var c crowd
	var asking errgroup.Group
	for i := range n {
		asking.Go(func() error {
			time.Sleep(everySecond * time.Duration(i) / time.Duration(n))
			for tick := time.Tick(everySecond); ; {
				size, err := poll(ctx, client, v.API+"/api/v1/query?"+url.Values{"query": {q.expression}, "nocache": {"1"}}.Encode())
				if err != nil {
					return err
				}
				c.got(size, 1)
				select {
				case <-ctx.Done():
					return nil
				case <-tick:
				}
			}
		})
	}
	time.Sleep(2 * everySecond)
	c.counting.Store(true)
	used, elapsed, err := v.during(ctx)
	c.counting.Store(false)
	stop()
	failed := asking.Wait()
	if err != nil {
		return err
	}
	got := float64(c.steps.Load())
	if got == 0 {
		return fmt.Errorf("nothing was answered: %w", failed)
	}
	name := report.To(q.name, n)
	v.add(name+report.CPU, "s", (used-v.base*elapsed)/got*float64(n))
	v.add(name+report.Bytes, "B", float64(c.bytes.Load())/got)
	v.add(name+report.Answered, "%", 100*got/elapsed*everySecond.Seconds()/float64(n))
	return nil
}

func poll(ctx context.Context, client *http.Client, address string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	n, err := io.Copy(io.Discard, response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", response.Status)
	}
	return int(n), err
}

// raw measures the bytes of following the same series without an expression.
func (v *live) raw(ctx context.Context, name string, references bool) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	stream, err := read.Open(ctx, v.RPC, &metricsv1.GetMetricsRequest{Selectors: []string{counts}, Follow: true, LabelReferences: references})
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = stream.Close() })
	var c crowd
	var reading errgroup.Group
	reading.Go(func() error {
		for {
			message, err := stream.Next()
			if err != nil {
				return err
			}
			c.got(len(message), 0)
		}
	})
	time.Sleep(2 * everySecond)
	c.counting.Store(true)
	used, elapsed, err := v.during(ctx)
	c.counting.Store(false)
	stop()
	_ = reading.Wait() // It ended since it was stopped.
	if err != nil {
		return err
	}
	seconds := elapsed / everySecond.Seconds()
	v.add(name+report.Bytes, "B", float64(c.bytes.Load())/seconds)
	v.add(name+report.CPU, "s", (used-v.base*elapsed)/seconds)
	return nil
}
