package main

import (
	"context"
	"runtime/debug"

	"github.com/promgrpc/exporter/bench/bound"
	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/report"
	"github.com/promgrpc/exporter/bench/subject"
)

// bound measures what else there is to the bound than ingest. Its memory and its
// disk bound nothing.
func (b *bench) bound(ctx context.Context, k subject.Kind, s *subject.System, l *load.Load) error {
	series, samples := l.Plan.Series, l.Plan.Samples(l.Plan.Rounds-1)
	add := func(metric, unit string, value float64) { b.result.Add(series, k.Name, metric, unit, value) }
	stages, err := bound.Stages(l.Plan.Version, l.Rounds(1, l.Plan.Rounds))
	if err != nil {
		return err
	}
	for _, stage := range stages {
		add(report.Stage+stage.Name, "ns", float64(stage.CPU)/float64(samples))
	}
	if k.Name != report.Bound {
		return nil // it is read as the other one is
	}
	l.Bodies = nil
	debug.FreeOSMemory()
	if err := b.read(ctx, k, s, series); err != nil {
		return err
	}
	return throughProxy(ctx, s, add)
}
