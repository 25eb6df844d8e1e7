package server_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/server"
)

// earlier appends a block that the forwarder made some time ago.
func (s *source) earlier(ago time.Duration, points ...point) {
	s.t.Helper()
	b := s.block(points...)
	b.Time -= ago.Milliseconds()
	s.append(b)
}

// Live is what was written within the staleness period, whatever timestamps that has:
// at every replica, over every protocol, also when the state was read from the files,
// or from a keyframe.
func TestWrittenIsLive(t *testing.T) {
	src := newSource(t)
	at, long := now(), 2*server.DefaultConfig().Staleness
	future := at + (9 * time.Minute).Milliseconds()
	src.earlier(long,
		point{series: "not_written", t: at, v: 1},
		point{series: "not_written_ahead", t: future, v: 1},
		point{series: "with_old_samples", t: at - 5, v: 1},
		point{series: "with_old_histograms", t: at - 5, histogram: histogram(t, at-5, 1)},
		point{series: "ended", t: at - 5, v: staleNaN},
		point{series: "ended_ahead", t: future, v: staleNaN},
		point{series: "ahead", t: future, v: 1},
		point{series: "histogram_ahead", t: future, histogram: histogram(t, future, 1)},
	)
	src.write(
		point{series: "with_old_samples", t: at - 6, v: 2},
		point{series: "with_old_histograms", t: at - 6, histogram: histogram(t, at-6, 2)},
		point{series: "ended", t: at - 6, v: 2},
		point{series: "ended_ahead", t: at, v: 2},
		point{series: "ahead", t: at, v: 2},
		point{series: "histogram_ahead", t: at, histogram: histogram(t, at, 2)},
		point{series: "only_ahead", t: future, v: 2},
		point{series: "exemplar_alone", exemplar: exemplar(t, at, 2)},
	)
	want := []string{
		fmt.Sprintf("with_old_samples 1 @%d", at-5),
		fmt.Sprintf("with_old_histograms histogram sum 1 @%d", at-5),
		fmt.Sprintf("ended_ahead 2 @%d", at),
		fmt.Sprintf("ahead 2 @%d", at),
		fmt.Sprintf("histogram_ahead histogram sum 2 @%d", at),
		fmt.Sprintf("only_ahead 2 @%d", future),
	}
	names := []string{"ahead", "ended_ahead", "histogram_ahead", "only_ahead", "with_old_histograms", "with_old_samples"}
	ask := func(what string, s *instance) {
		t.Run(what, func(t *testing.T) {
			overAll(t, func(t *testing.T, p protocol) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				require.Equal(t, want, lines(all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{}))...))
			})
			for name, o := range map[string]connect.ClientOption{"grpc": connect.WithGRPC(), "grpcweb": connect.WithGRPCWeb(), "connect": plain} {
				client := connectClient(t, s.RPCAddr().String(), true, o)
				status, err := client.GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
				require.NoError(t, err)
				require.EqualValues(t, len(want), status.Msg.GetLiveSeries(), name)
				values, err := client.GetLabelValues(t.Context(), connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: "__name__"}))
				require.NoError(t, err)
				require.Equal(t, names, values.Msg.GetValues(), name)
			}
		})
	}
	config, relayed := testConfig(t), testConfig(t)
	one, two := startFed(t, config, src), startFed(t, testConfig(t), src)
	relay := startRelay(t, relayed, two)
	relay.await(t, src)
	ask("one", one)
	ask("two", two)
	ask("relay", relay)
	one.stop()
	one = start(t, config)
	one.await(t)
	ask("from its files", one)
	src.rotate()
	src.write(point{series: "not_written", t: at + 1, v: staleNaN})
	relay.await(t, src)
	relay.stop()
	relay = startRelay(t, relayed, two)
	relay.await(t, src)
	ask("from a keyframe", relay)
}

// Of a series in several logs, the latest sample is that of the log that is written:
// not one from the future, nor one from before the series ended.
func TestLatestOfSeveralLogs(t *testing.T) {
	at := now()
	future := at + (9 * time.Minute).Milliseconds()
	one, two := newSource(t), newSource(t)
	one.earlier(time.Minute,
		point{series: "ahead", t: future, v: 1},
		point{series: "a_little_ahead", t: at + 10, v: 1},
		point{series: "ended", t: at - 5, v: 1},
		point{series: "back", t: at - 5, v: staleNaN},
		point{series: "ended_ahead", t: future, v: staleNaN},
		point{series: "both_ahead", t: future, v: 1},
		point{series: "equal", t: at, v: 1},
	)
	two.write(
		point{series: "ahead", t: at, v: 2},
		point{series: "a_little_ahead", t: at, v: 2},
		point{series: "ended", t: at, v: staleNaN},
		point{series: "back", t: at, v: 2},
		point{series: "ended_ahead", t: at, v: 2},
		point{series: "both_ahead", t: at + head.ClockSkew + patience.Milliseconds(), v: 2},
		point{series: "equal", t: at, v: 1},
	)
	want := []string{
		fmt.Sprintf("a_little_ahead 1 @%d", at+10),
		fmt.Sprintf("ahead 2 @%d", at),
		fmt.Sprintf("back 2 @%d", at),
		fmt.Sprintf("both_ahead 2 @%d", at+head.ClockSkew+patience.Milliseconds()),
		fmt.Sprintf("ended_ahead 2 @%d", at),
		fmt.Sprintf("equal 1 @%d", at),
	}
	config := testConfig(t)
	s := startFed(t, config, one, two)
	relay := startRelay(t, testConfig(t), s)
	relay.await(t, one, two)
	ask := func(what string, s *instance) {
		t.Run(what, func(t *testing.T) {
			overAll(t, func(t *testing.T, p protocol) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				got := lines(all(t, p.open(t, ctx, s.RPCAddr().String(), &getRequest{}))...)
				slices.Sort(got)
				require.Equal(t, want, got)
			})
		})
	}
	ask("server", s)
	ask("relay", relay)
	s.stop()
	s = start(t, config)
	s.await(t)
	ask("from its files", s)
}
