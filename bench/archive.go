package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/promgrpc/exporter/bench/read"
	"github.com/promgrpc/exporter/bench/report"
	"github.com/promgrpc/exporter/bench/subject"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// archive measures the replay of what is in a bucket, by a server that has nothing else, and
// that of the same by one that has it on its disk. Only with an S3 server.
func (b *bench) archive(ctx context.Context) error {
	const series = 100_000
	if !subject.HasBucket(b.options.Tools) {
		return nil
	}
	b.logger.Info("measure", "what", report.ReplayBucket)
	k := subject.Archived(report.Project, b.version())
	s, l, err := b.start(ctx, k, b.plan(series, k.Write))
	if err != nil {
		return err
	}
	defer s.Stop()
	if _, err := b.ingest(ctx, k, s, l, 0, l.Plan.Rounds); err != nil {
		return err
	}
	if err := archived(ctx, s.RPC); err != nil {
		return err
	}
	if err := s.Late.Start(ctx); err != nil {
		return err
	}
	add, want := b.adder(series, k.Name), l.Plan.Samples(l.Plan.Rounds)
	for range b.reads {
		if err := replay(ctx, s.RPC, s.Servers[0], want, report.ReplayDisk, add); err != nil {
			return err
		}
		if err := replay(ctx, s.LateRPC, s.Late, want, report.ReplayBucket, add); err != nil {
			return err
		}
	}
	return nil
}

// archived waits until the bucket has all that a server has by now.
func archived(ctx context.Context, server read.Server) error {
	client := metricsv1connect.NewMetricsServiceClient(http.DefaultClient, "http://"+server.Address)
	var want map[string]uint64
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		status, err := client.GetStatus(ctx, connect.NewRequest(&metricsv1.GetStatusRequest{}))
		if err != nil {
			return err
		}
		logs := status.Msg.GetLogs()
		if want == nil {
			want = map[string]uint64{}
			for _, log := range logs {
				want[log.GetLogId()] = log.GetLastSequence()
			}
		}
		missing := false
		for _, log := range logs {
			missing = missing || log.GetArchivedSequence() < want[log.GetLogId()]
		}
		if !missing {
			return nil
		}
	}
	return errors.New("the bucket has not all of the log after a minute")
}

// replay reads all samples of a server by a process.
func replay(ctx context.Context, server read.Server, p *subject.Process, want int, metric string, add adder) error {
	before, err := p.CPU()
	if err != nil {
		return err
	}
	r, err := read.Metrics(ctx, server, &metricsv1.GetMetricsRequest{
		Start: &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(time.Unix(0, 0))}, LabelReferences: true,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", metric, err)
	}
	after, err := p.CPU()
	if err != nil {
		return err
	}
	if r.Samples < want {
		return fmt.Errorf("%s: %d samples came, of %d", metric, r.Samples, want)
	}
	add(metric, "samples/CPU-s", float64(want)/(after-before).Seconds())
	add(metric+report.Elapsed, "samples/s", float64(want)/r.Elapsed.Seconds())
	return nil
}
