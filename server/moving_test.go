package server_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// maxAge is the shortest that is allowed.
const maxAge = time.Second

// startAging starts a server whose streams move, fed from a source.
func startAging(t *testing.T, src *source) *instance {
	c := testConfig(t)
	c.MaxAge = maxAge
	return startFed(t, c, src)
}

// steady writes samples of one series, whose values count from 0, until the
// test ends.
func steady(t *testing.T, src *source, series string) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			src.write(point{series: series, t: int64(1e12) + int64(i), v: float64(i)})
			time.Sleep(2 * time.Millisecond)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// untilAged receives until the stream is ended because of its age, and returns the
// cursor to resume at.
func untilAged(t *testing.T, recv receiver) ([]*getResponse, string) {
	t.Helper()
	var got []*getResponse
	for {
		r, err := recv()
		if err == nil {
			got = append(got, r)
			continue
		}
		requireCode(t, connect.CodeUnavailable, err)
		ended := detail[*metricsv1.StreamInterrupted](t, err)
		require.Equal(t, metricsv1.StreamInterrupted_REASON_MAX_AGE, ended.GetReason())
		require.NotEmpty(t, got)
		require.Equal(t, lastCursor(got), ended.GetCursor(), "all that was sent is covered")
		return got, ended.GetCursor()
	}
}

// A stream that follows is ended at its age, and resumes at another server with no
// sample lost or doubled.
func TestStreamsMove(t *testing.T) {
	src := newSource(t)
	servers := []*instance{startAging(t, src), startAging(t, src)}
	steady(t, src, "n")
	const moves = 3
	requests, next := map[string]*getRequest{}, map[string]float64{}
	for _, p := range protocols {
		requests[p.name] = &getRequest{Follow: true, LabelReferences: true}
	}
	for turn := range moves {
		onEach(t, servers[turn%2], requests, func(t *testing.T, p protocol, recv receiver) {
			got, cursor := untilAged(t, recv)
			labels := 0
			for _, ts := range series(got) {
				if len(ts.GetLabels()) > 0 {
					labels++
				}
				for _, s := range ts.GetSamples() {
					if want, ok := next[p.name]; ok {
						require.Equal(t, want, s.GetValue())
					}
					next[p.name] = s.GetValue() + 1
				}
			}
			require.Equal(t, 1, labels, "a stream starts its references over")
			requests[p.name] = &getRequest{Follow: true, LabelReferences: true, Start: after(cursor)}
		})
	}
	ended := 0.0
	for _, s := range servers {
		ended += s.metricOf(t, "promgrpc_server_streams_ended_total", "max_age")
	}
	require.EqualValues(t, moves*len(protocols), ended)
}

// onEach opens a stream over each protocol, all at a time, and runs a test on
// each.
func onEach(t *testing.T, s *instance, requests map[string]*getRequest, test func(t *testing.T, p protocol, recv receiver)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	open := map[string]receiver{}
	for _, p := range protocols {
		recv := p.open(t, ctx, s.RPCAddr().String(), requests[p.name])
		first, err := recv()
		open[p.name] = func() (*getResponse, error) {
			if first == nil && err == nil {
				return recv()
			}
			r := first
			first = nil
			return r, err
		}
	}
	overAll(t, func(t *testing.T, p protocol) { test(t, p, open[p.name]) })
}

// toEach is one request for all protocols.
func toEach(req *getRequest) map[string]*getRequest {
	requests := map[string]*getRequest{}
	for _, p := range protocols {
		requests[p.name] = req
	}
	return requests
}

func series(got []*getResponse) (all []*metricsv1.TimeSeries) {
	for _, r := range got {
		all = append(all, r.GetTimeseries()...)
	}
	return all
}

// A stream on which nothing comes moves as well.
func TestQuietStreamsMove(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	s := startAging(t, src)
	onEach(t, s, toEach(&getRequest{Follow: true, HeartbeatInterval: secs(3600)}), func(t *testing.T, _ protocol, recv receiver) {
		untilAged(t, recv)
	})
}

// With min_interval a stream moves when nothing is held back, so that the next server
// sends nothing of it again.
func TestConflatedStreamsMove(t *testing.T) {
	src := newSource(t)
	servers := []*instance{startAging(t, src), startAging(t, src)}
	steady(t, src, "n")
	requests, last := toEach(&getRequest{Follow: true, MinInterval: millis(300)}), map[string]float64{}
	for turn := range 2 {
		onEach(t, servers[turn], requests, func(t *testing.T, p protocol, recv receiver) {
			got, cursor := untilAged(t, recv)
			for _, ts := range series(got) {
				for _, s := range ts.GetSamples() {
					if before, ok := last[p.name]; ok {
						require.Equal(t, before+1+float64(ts.GetCoalesced()), s.GetValue())
					}
					last[p.name] = s.GetValue()
				}
			}
			requests[p.name] = &getRequest{Follow: true, MinInterval: millis(300), Start: after(cursor)}
		})
	}
}

// A client that takes longer for a snapshot or a replay than the longest age gets to
// the end of it, or it might never.
func TestStreamsArriveBeforeTheyMove(t *testing.T) {
	src := newSource(t)
	var block []point
	for i := range 60_000 {
		block = append(block, point{series: name(i), t: now(), v: float64(i)})
	}
	src.write(block...)
	s := startAging(t, src)
	for title, req := range map[string]*getRequest{
		"snapshot": {Follow: true},
		"replay":   {Follow: true, Start: everything["retained"].GetStart()},
		"no more":  {},
	} {
		t.Run(title, func(t *testing.T) {
			begun := time.Now()
			onEach(t, s, toEach(req), func(t *testing.T, _ protocol, recv receiver) {
				time.Sleep(time.Until(begun.Add(2 * maxAge)))
				if !req.GetFollow() {
					require.Len(t, series(all(t, recv)), len(block))
					return
				}
				got, _ := untilAged(t, recv)
				require.Len(t, series(got), len(block))
				require.True(t, slices.ContainsFunc(got, isSynced))
			})
		})
	}
}

// A stream of logs moves when its client has come to the present.
func TestLogStreamsMove(t *testing.T) {
	src := newSource(t)
	history(t, src, now())
	s := startAging(t, src)
	for name, p := range map[string]struct {
		h2 bool
		o  []connect.ClientOption
	}{
		"grpc": {true, []connect.ClientOption{connect.WithGRPC()}}, "grpcweb": {false, []connect.ClientOption{connect.WithGRPCWeb()}},
		"connect": {false, nil}, "connect json": {true, []connect.ClientOption{connect.WithProtoJSON()}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			got, err := readLogs(t, ctx, s, p.h2, &metricsv1.ReadLogsRequest{Follow: true, HeartbeatInterval: millis(200)}, p.o...)
			requireCode(t, connect.CodeUnavailable, err)
			require.Equal(t, metricsv1.StreamInterrupted_REASON_MAX_AGE, detail[*metricsv1.StreamInterrupted](t, err).GetReason())
			bytes := 0
			for _, r := range got {
				bytes += len(r.GetData().GetData())
				if r.GetData() != nil {
					require.False(t, r.GetData().GetPartial(), "no piece is broken off")
				}
			}
			require.Positive(t, bytes)
		})
	}
}

// A relay moves among its upstreams, as clients do.
func TestRelayMoves(t *testing.T) {
	src := newSource(t)
	servers := []*instance{startAging(t, src), startAging(t, src)}
	steady(t, src, "n")
	relay := startRelay(t, testConfig(t), servers...)
	relay.await(t)
	recv := relay.call(t, &getRequest{Follow: true})
	moved := func() (both bool) {
		both = true
		for _, s := range servers {
			both = both && s.metricOf(t, "promgrpc_server_streams_ended_total", "max_age") > 0
		}
		return both
	}
	// Which one is chosen is left to chance.
	for next, deadline := -1.0, time.Now().Add(3*patience); !moved(); {
		require.True(t, time.Now().Before(deadline), "it does not move")
		r, err := recv()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		for _, ts := range r.GetTimeseries() {
			for _, s := range ts.GetSamples() {
				if next >= 0 {
					require.Equal(t, next, s.GetValue())
				}
				next = s.GetValue() + 1
			}
		}
	}
	require.NotContains(t, relay.log.String(), "upstream lost")
	require.Contains(t, relay.log.String(), "upstream is chosen again")
}
