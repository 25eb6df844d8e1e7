package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/promgrpc/exporter/bench/load"
	"github.com/promgrpc/exporter/bench/read"
	"github.com/promgrpc/exporter/forwarder"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/receiver"
	"github.com/promgrpc/exporter/server"
)

// pipeline is a receiver, a forwarder and a server in this process, so that their
// allocations are counted, with a client that allocates little.
type pipeline struct {
	url, rpc string
	load     *load.Load
}

const stageSeries, stageRounds = 10_000, 20

func startPipeline(b *testing.B) *pipeline {
	b.Helper()
	l, err := load.Make(load.Plan{
		Profile: load.Synthetic, Series: stageSeries, Rounds: stageRounds, PerRequest: 2000, Version: 1, Interval: 15 * time.Second, Last: time.Now(),
	})
	require.NoError(b, err)
	return startPipelineOf(b, l, func(*forwarder.Config, *server.Config) {})
}

// startPipelineOf starts the pipeline with changes to the defaults.
func startPipelineOf(b *testing.B, l *load.Load, change func(*forwarder.Config, *server.Config)) *pipeline {
	b.Helper()
	logger := slog.New(slog.DiscardHandler)
	const any0 = "127.0.0.1:0"

	sc := server.DefaultConfig()
	sc.LinkAddress, sc.RPCAddress, sc.WebAddress, sc.StoragePath, sc.Sync = any0, any0, any0, b.TempDir(), "never"
	fc := forwarder.DefaultConfig()
	fc.LinkAddress, fc.WebAddress, fc.StoragePath, fc.Sync = any0, any0, b.TempDir(), "never"
	change(&fc, &sc)
	s, err := server.New(sc, logger, prometheus.NewRegistry())
	require.NoError(b, err)
	fc.Server = s.LinkAddr().String()
	f, err := forwarder.New(fc, logger, prometheus.NewRegistry())
	require.NoError(b, err)
	rc := receiver.DefaultConfig()
	rc.WebAddress, rc.Forwarder = any0, f.LinkAddr().String()
	r, err := receiver.New(rc, logger, prometheus.NewRegistry())
	require.NoError(b, err)

	ctx, stop := context.WithCancel(context.Background())
	var parts errgroup.Group
	for _, run := range []func(context.Context) error{s.Run, f.Run, r.Run} {
		parts.Go(func() error { return run(ctx) })
	}
	b.Cleanup(func() {
		stop()
		require.NoError(b, parts.Wait())
	})
	return &pipeline{url: "http://" + r.WebAddr().String() + "/api/v1/write", rpc: s.RPCAddr().String(), load: l}
}

func (p *pipeline) send(b *testing.B, from, to int) {
	b.Helper()
	sender := load.Sender{URL: p.url, Version: 1, Connections: 1, Round: 1}
	_, err := sender.Send(b.Context(), p.load.Rounds(from, to))
	require.NoError(b, err)
}

// round sends the n-th round of samples that were not sent before.
func (p *pipeline) round(b *testing.B, n int) {
	b.Helper()
	if n > 0 && n%(stageRounds-1) == 0 { // the same bytes again would be a repetition
		b.StopTimer()
		plan := p.load.Plan
		plan.Last = plan.Last.Add(stageRounds * plan.Interval)
		var err error
		p.load, err = load.Make(plan)
		require.NoError(b, err)
		b.StartTimer()
	}
	p.send(b, 1+n%(stageRounds-1), 2+n%(stageRounds-1))
}

// await waits until a request returns a number of samples.
func (p *pipeline) await(b *testing.B, request *metricsv1.GetMetricsRequest, want int) {
	b.Helper()
	require.Eventually(b, func() bool {
		r, err := read.Metrics(b.Context(), read.Server{Address: p.rpc}, request)
		return err == nil && r.Samples == want
	}, 20*time.Second, 10*time.Millisecond)
}

func (p *pipeline) bench(b *testing.B, request *metricsv1.GetMetricsRequest, want int) {
	b.Helper()
	p.await(b, request, want)
	b.ReportAllocs()
	for b.Loop() {
		r, err := read.Metrics(b.Context(), read.Server{Address: p.rpc}, request)
		if err != nil || r.Samples != want {
			b.Fatalf("%d samples, %v", r.Samples, err)
		}
	}
	b.ReportMetric(float64(want)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Msamples/s")
}

// BenchmarkStreamSnapshot reads the latest sample of 10,000 series.
func BenchmarkStreamSnapshot(b *testing.B) {
	p := startPipeline(b)
	p.send(b, 0, 1)
	p.bench(b, &metricsv1.GetMetricsRequest{}, stageSeries)
}

// BenchmarkStreamReplay reads 20 samples of 10,000 series from the log.
func BenchmarkStreamReplay(b *testing.B) {
	p := startPipeline(b)
	p.send(b, 0, stageRounds)
	request := &metricsv1.GetMetricsRequest{Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.Unix(0, 0))}}
	p.bench(b, request, stageSeries*stageRounds)
}

// BenchmarkStreamIngest writes a sample of 10,000 known series, through all parts.
func BenchmarkStreamIngest(b *testing.B) {
	p := startPipeline(b)
	p.send(b, 0, 1)
	p.await(b, &metricsv1.GetMetricsRequest{}, stageSeries)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		p.round(b, n)
	}
	b.ReportMetric(stageSeries*float64(b.N)/b.Elapsed().Seconds()/1e6, "Msamples/s")
}

// BenchmarkStreamFollow writes a sample of 10,000 series, through all parts,
// and waits until a follower has received the last.
func BenchmarkStreamFollow(b *testing.B) {
	p := startPipeline(b)
	p.send(b, 0, 1)
	p.await(b, &metricsv1.GetMetricsRequest{}, stageSeries)
	s, err := read.Open(b.Context(), read.Server{Address: p.rpc}, &metricsv1.GetMetricsRequest{Follow: true})
	require.NoError(b, err)
	defer func() { _ = s.Close() }()
	for synced := false; !synced; {
		message, err := s.Next()
		require.NoError(b, err)
		synced = read.Synced(message)
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		p.round(b, n)
		for samples := 0; samples < stageSeries; {
			message, err := s.Next()
			if err != nil {
				b.Fatal(err)
			}
			_, got, err := read.Count(message)
			if err != nil {
				b.Fatal(err)
			}
			samples += got
		}
	}
	b.ReportMetric(stageSeries*float64(b.N)/b.Elapsed().Seconds()/1e6, "Msamples/s")
}
