package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/promgrpc/exporter/bench/read"
	"github.com/promgrpc/exporter/bench/report"
	"github.com/promgrpc/exporter/bench/subject"
)

// router measures what followers of two groups cost by each way: those who call the servers
// themselves, a router, and a process that only passes on what the servers stream.
func (b *bench) router(ctx context.Context) error {
	kinds := b.chosen([]subject.Kind{subject.Routed(report.ProjectRouter, b.version())})
	if len(kinds) == 0 || b.live == 0 {
		return nil
	}
	k := kinds[0]
	b.logger.Info("measure", "system", k.Name)
	ingest, err := b.throughRouter(ctx, k, byServers, 0, false)
	if err != nil {
		return err
	}
	for _, references := range []bool{true, false} {
		form := report.References
		if !references {
			form = report.Labels
		}
		for _, way := range []way{byServers, byRouter, byPass} {
			cost, err := b.throughRouter(ctx, k, way, routedFollowers, references)
			if err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
			if way.name == byServers.name {
				cost.used -= ingest.used
			}
			b.result.Add(routedSeries, way.name, report.Routed+form, "ns/sample", float64(cost.used)/float64(cost.samples))
		}
	}
	return nil
}

const (
	routedSeries    = 20_000
	routedFollowers = 20
)

// way is where followers call, and which processes' CPU that is about.
type way struct {
	name      string
	at        func(s *subject.System) (servers []read.Server, lives int)
	processes func(s *subject.System) []*subject.Process
}

var (
	byServers = way{
		report.ProjectTwoGroups,
		func(s *subject.System) ([]read.Server, int) { return s.RPCs, 1 },
		func(s *subject.System) []*subject.Process { return s.Servers },
	}
	byRouter = way{
		report.ProjectRouter,
		func(s *subject.System) ([]read.Server, int) { return []read.Server{s.RouterRPC}, 1 },
		func(s *subject.System) []*subject.Process { return []*subject.Process{s.Router} },
	}
	byPass = way{
		report.BoundRouter,
		func(s *subject.System) ([]read.Server, int) { return []read.Server{s.PassRPC}, len(s.RPCs) },
		func(s *subject.System) []*subject.Process { return []*subject.Process{s.Pass} },
	}
)

// passed is what a way took for the samples that all followers got.
type passed struct {
	used    time.Duration
	samples int64
}

func (b *bench) throughRouter(ctx context.Context, k subject.Kind, w way, followers int, references bool) (passed, error) {
	const pace = 100_000
	var samples atomic.Int64
	s, used, _, err := b.follow(ctx, k, follow{series: routedSeries, pace: pace, followers: followers, references: references, at: w.at,
		sending: func(int64) {},
		received: func(response []byte) {
			_, n, _ := read.Count(response)
			samples.Add(int64(n))
		}})
	if err != nil {
		return passed{}, err
	}
	return passed{s.Of(used, w.processes(s)...), samples.Load()}, nil
}
