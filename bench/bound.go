package main

import (
	"context"
	"runtime"

	"github.com/promgrpc/exporter/bench/bound"
	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/report"
	"github.com/promgrpc/exporter/bench/subject"
)

// bound measures the floors of ingest by a version of remote write, and for version 1
// also those of a snapshot.
func (b *bench) bound(ctx context.Context, system string, write, series int) error {
	k := subject.Bound(system, b.profile.Name, write, series)
	s, l, err := b.start(ctx, k, b.plan(series, write))
	if err != nil {
		return err
	}
	defer s.Stop()
	clear(make([]byte, 512*series)) // maps memory, so that no step waits for that
	runtime.GC()
	p, err := bound.NewPipeline(write, b.connections, s.Dir)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := b.floors(ctx, k, s, p, l, 0, 1); err != nil {
		return err
	}
	if err := b.floors(ctx, k, s, p, l, 1, l.Plan.Rounds); err != nil || write != 1 {
		return err
	}
	cpu, err := p.Snapshot(b.profile, series)
	if err != nil {
		return err
	}
	b.result.Add(series, report.BoundSocket, report.Latest, "series/CPU-s", float64(series)/cpu.Seconds())
	if err := b.read(ctx, k, s, l); err != nil {
		return err
	}
	return throughProxy(ctx, s, b.adder(series, system))
}

// floors measures a range of rounds. The first round has new series.
func (b *bench) floors(ctx context.Context, k subject.Kind, s *subject.System, p *bound.Pipeline, l *load.Load, from, to int) error {
	add := b.adder(l.Plan.Series, k.Name)
	w, err := b.ingest(ctx, k, s, l, from, to)
	if err != nil {
		return err
	}
	floors, err := p.Run(l.Rounds(from, to))
	if err != nil {
		return err
	}
	floors = append([]bound.Floor{{Process: bound.Receiver, Step: "read and answer HTTP", CPU: w.usage.Total()}}, floors...)
	var forwarder, front, all float64
	for _, f := range floors {
		cost := float64(f.CPU) / float64(l.Plan.Samples(to-from))
		if f.Process == bound.Forwarder {
			forwarder += cost
		}
		if all += cost; f.Process != bound.Server {
			front += cost
		} else {
			all += cost * (bound.Servers - 1)
		}
		if from > 0 {
			add(report.Cost+f.Process+": "+f.Step, "ns", cost)
		}
	}
	if from == 0 {
		add(report.New, "series/CPU-s", 1e9/all)
		return nil
	}
	add(report.Steady, "samples/CPU-s", 1e9/all)
	add(report.SteadyFront, "samples/CPU-s", 1e9/front)
	if k.Write != 1 || l.Plan.Series != serialSeries {
		return nil
	}
	return b.serial(ctx, forwarder)
}
