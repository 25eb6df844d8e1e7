package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/read"
	"github.com/promgrpc/exporter/bench/report"
	"github.com/promgrpc/exporter/bench/subject"
)

// querySeries is how many series there are when queries are asked.
const querySeries = 100_000

// queries measures PromQL: of the project with its window and without, and of the peers
// that evaluate it.
func (b *bench) queries(ctx context.Context) error {
	for repetition := range b.repeat {
		b.logger.Info("measure", "what", "queries", "repetition", repetition+1)
		for _, part := range []func(context.Context) error{b.windows, b.answers, b.subscriptions} {
			if err := part(ctx); err != nil {
				return err
			}
			if err := b.result.Write(b.out, report.Queries); err != nil {
				return err
			}
		}
	}
	return nil
}

// readers are the systems that queries are compared of.
func (b *bench) readers() []subject.Kind {
	version := b.version()
	return b.chosen(append([]subject.Kind{
		subject.Project(report.ProjectOne, 1, 1, version), subject.Windowless(report.Windowless, version),
	}, subject.Stores(b.options.Tools)...))
}

// windows measures what the window costs when samples are written that it keeps.
func (b *bench) windows(ctx context.Context) error {
	kinds := b.readers()
	l, err := load.Make(load.Plan{
		Profile: b.profile, Series: querySeries, Rounds: b.rounds(), PerRequest: b.perRequest, Version: 1, Interval: recentSpan / time.Duration(b.rounds()), Last: time.Now(),
	})
	if err != nil {
		return err
	}
	for _, k := range kinds {
		if k.Project {
			if err := b.windowOf(ctx, k, l); err != nil {
				return fmt.Errorf("%s: %w", k.Name, err)
			}
		}
	}
	return nil
}

// recentSpan is less than the window keeps.
const recentSpan = 14 * time.Minute

// rounds of a load of that many series.
func (b *bench) rounds() int { return max(4, b.samples/querySeries) }

func (b *bench) windowOf(ctx context.Context, k subject.Kind, l *load.Load) error {
	s, err := k.Start(ctx, b.options)
	if err != nil {
		return err
	}
	defer s.Stop()
	fresh, err := b.ingest(ctx, k, s, l, 0, 1)
	if err != nil {
		return err
	}
	steady, err := b.ingest(ctx, k, s, l, 1, l.Plan.Rounds)
	if err != nil {
		return err
	}
	memory, err := s.Servers[0].Peak()
	if err != nil {
		return err
	}
	add := b.adder(querySeries, k.Name)
	samples := float64(l.Plan.Samples(l.Plan.Rounds - 1))
	add(report.WindowSample, "ns", float64(steady.usage[0])/samples) // process 0 is the server
	add(report.WindowSeries, "ns", float64(fresh.usage[0])/querySeries)
	add(report.WindowAll, "ns", float64(steady.usage.Total())/samples)
	add(report.WindowMemory, "bytes", float64(memory))
	add(report.Others, "% of the machine", 100*steady.others)
	return nil
}

// The metrics of the load that are asked for: 15 series of each pod, and 150.
const (
	counts  = "http_server_request_duration_seconds_count"
	buckets = "http_server_request_duration_seconds_bucket"
)

// question is an expression, and by which name its figures go.
type question struct {
	name       string
	expression string
}

var instants = []question{
	{report.InstantSum, "sum by (job) (rate(" + counts + "[5m]))"},
	{report.InstantSelect, counts + `{instance="10.0.0.7:9090"}`},
	{report.InstantTop, "topk(10, " + counts + ")"},
	{report.InstantQuantile, "histogram_quantile(0.99, sum by (job, le) (rate(" + buckets + "[5m])))"},
}

var ranges = []question{
	{report.RangeSelect, "sum by (job) (rate(" + counts + `{instance="10.0.0.7:9090"}[5m]))`},
	{report.RangeSum, "sum by (job) (rate(" + counts + "[5m]))"},
}

// answers measures queries of people, of an hour of samples.
func (b *bench) answers(ctx context.Context) error {
	const span = time.Hour
	l, err := load.Make(load.Plan{
		Profile: b.profile, Series: querySeries, Rounds: b.rounds(), PerRequest: b.perRequest, Version: 1, Interval: span / time.Duration(b.rounds()), Last: time.Now(),
	})
	if err != nil {
		return err
	}
	for _, k := range b.readers() {
		b.logger.Info("measure", "what", "answers", "system", k.Name)
		if err := b.answersOf(ctx, k, l); err != nil {
			return fmt.Errorf("%s: %w", k.Name, err)
		}
	}
	return nil
}

func (b *bench) answersOf(ctx context.Context, k subject.Kind, l *load.Load) error {
	s, err := k.Start(ctx, b.options)
	if err != nil {
		return err
	}
	defer s.Stop()
	if _, err := b.ingest(ctx, k, s, l, 0, l.Plan.Rounds); err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	api := read.HTTP{Base: s.API, Client: client}
	end := l.Plan.Last
	inRange := func(q question) ask {
		return func() (read.Result, error) {
			const step = 15 * time.Second
			return api.Range(ctx, q.expression, end.Add(-time.Hour), end, step)
		}
	}
	if err := b.asked(ctx, k, s, report.RangeCold, inRange(ranges[0]), 1); err != nil {
		return err
	}
	for _, q := range ranges {
		if err := b.asked(ctx, k, s, q.name, inRange(q), 3); err != nil {
			return err
		}
	}
	for _, q := range instants {
		instant := func() (read.Result, error) { return api.Instant(ctx, q.expression, end) }
		if err := b.asked(ctx, k, s, q.name, instant, leastInstants); err != nil {
			return err
		}
	}
	return nil
}

// leastInstants is how often an instant query is asked at least.
const leastInstants = 10

// ask asks once.
type ask func() (read.Result, error)

// asked asks a number of times, or until that has used enough CPU time, and adds what it
// cost: a series of answers in an idle system.
func (b *bench) asked(ctx context.Context, k subject.Kind, s *subject.System, name string, q ask, least int) error {
	before, err := s.Idle(ctx)
	if err != nil {
		return err
	}
	add := b.adder(querySeries, k.Name)
	used, n, series := time.Duration(0), 0, 0
	for ; n < least || least > 1 && used < enough && n < 50*least; n++ {
		r, err := q()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if series = r.Series; series == 0 {
			return fmt.Errorf("%s: the result is empty", name)
		}
		add(name+report.Elapsed, "s", r.Elapsed.Seconds())
		after, err := s.Usage()
		if err != nil {
			return err
		}
		used = after.Minus(before).Total()
	}
	add(name+report.CPU, "s", used.Seconds()/float64(n))
	b.logger.Info("asked", "system", k.Name, "what", name, "times", n, "series", series, "cpu_ms", 1e3*used.Seconds()/float64(n))
	return nil
}
