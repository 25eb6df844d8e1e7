package server_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/alecthomas/units"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/server"
)

// heldSeries is how many series held back take more than what each stream has free and
// a small limit together.
const heldSeries = 20_000

func heldPoints(t int64) []point {
	points := make([]point, heldSeries)
	for i := range points {
		points[i] = point{series: name(i), t: t, v: float64(t)}
	}
	return points
}

// limited sets a small limit of what streams hold. What each has free stays.
func limited(t testing.TB, bytes units.Base2Bytes) server.Config {
	c := testConfig(t)
	c.StreamBytes, c.PeerShare = bytes, 100
	return c
}

// requireOver is for a call that was refused by a limit on what streams hold.
func requireOver(t testing.TB, err error, passing bool) {
	t.Helper()
	requireCode(t, connect.CodeResourceExhausted, err)
	require.ErrorContains(t, err, "--limit.stream-bytes")
	require.Equal(t, "stream-bytes", detail[*errdetails.QuotaFailure](t, err).GetViolations()[0].GetSubject())
	if passing {
		require.NotZero(t, detail[*errdetails.RetryInfo](t, err).GetRetryDelay().AsDuration())
	}
}

// A stream that holds back more than there is room for ends, and its cursor resumes
// where it was.
func TestHeldBackBytes(t *testing.T) {
	src := newSource(t)
	src.write(heldPoints(1)...)
	s := startFed(t, limited(t, 64*units.KiB), src)
	at := int64(1)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true, MinInterval: secs(3600), Selectors: []string{"m"}})
		c := lastCursor(until(t, recv, isSynced))
		at++
		src.write(heldPoints(at)...)
		var err error
		for err == nil {
			var r *getResponse
			if r, err = recv(); err == nil {
				require.Empty(t, lines(r))
				c = r.GetCursor()
			}
		}
		requireOver(t, err, false)
		require.Len(t, lines(all(t, s.call(t, &getRequest{Start: after(c)}))...), heldSeries)
	})
	require.Equal(t, float64(len(protocols)), s.metricOf(t, "promgrpc_server_over_limit_total", "stream-bytes"))
	require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_stream_state_bytes") == 0 }, patience, time.Millisecond)
}

// All streams share the room, and get what others have released.
func TestHeldBackBytesOfAll(t *testing.T) {
	src := newSource(t)
	src.write(heldPoints(1)...)
	s := startFed(t, limited(t, 2*units.MiB), src)
	follow := func() (receiver, context.CancelFunc) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		t.Cleanup(cancel)
		recv := openGRPC(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true, MinInterval: secs(3600), HeartbeatInterval: millis(100)})
		until(t, recv, isSynced)
		return recv, cancel
	}
	const most = 30
	var ends []context.CancelFunc
	over := make(chan error, most)
	for range most {
		recv, cancel := follow()
		ends = append(ends, cancel)
		go func() {
			for {
				if _, err := recv(); err != nil {
					over <- err
					return
				}
			}
		}()
	}
	src.write(heldPoints(2)...)
	requireOver(t, <-over, true)
	held := s.metric(t, "promgrpc_server_stream_state_bytes")
	require.LessOrEqual(t, held, float64(2*units.MiB))
	require.Greater(t, held, float64(units.MiB))
	for _, end := range ends {
		end()
	}
	require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_streams") == 0 }, patience, time.Millisecond)
	recv, _ := follow()
	src.write(heldPoints(3)...)
	s.await(t, src)
	beats := 0
	until(t, recv, func(r *getResponse) bool { beats++; return beats == 5 })
}

// A reader that takes little of a snapshot is cut off when what the server keeps of
// the past for it is more than there is room for, long before it is stalled.
func TestPinnedBytes(t *testing.T) {
	src := newSource(t)
	src.append(tenLabels(0, 10*heldSeries)) // More than the buffers of a connection take.
	c := limited(t, 64*units.KiB)
	s := startFed(t, c, src)
	open := 0
	for _, p := range protocols {
		if p.zipped {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
		defer cancel()
		recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{})
		_, err := recv()
		require.NoError(t, err)
		open++
	}
	require.Equal(t, float64(open), s.metric(t, "promgrpc_server_streams"))
	again := tenLabels(0, 10*heldSeries)
	again.Series.Reset()
	src.append(again)
	require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_streams") == 0 }, 3*patience, 10*time.Millisecond)
	require.Equal(t, float64(open), s.metricOf(t, "promgrpc_server_over_limit_total", "stream-bytes"))
	require.Len(t, lines(all(t, s.call(t, &getRequest{}))...), 10*heldSeries)
}

// withinSnapshot returns a cursor near the start of a snapshot.
func withinSnapshot(t testing.TB, s *instance) string {
	r, err := s.call(t, &getRequest{})()
	require.NoError(t, err)
	c, err := cursor.Parse(r.GetCursor())
	require.NoError(t, err)
	require.NotZero(t, c.Positions[0].SnapshotRef)
	return r.GetCursor()
}

// Streams that resumed within a snapshot and take nothing of it do not keep others
// from doing the same.
func TestTakenUpWithinSnapshots(t *testing.T) {
	src := newSource(t)
	src.append(tenLabels(0, 10*heldSeries))
	s := startFed(t, testConfig(t), src)
	c := withinSnapshot(t, s)
	for range 2 * server.DefaultConfig().Decodes {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		_, err := openGRPC(t, ctx, s.RPCAddr().String(), &getRequest{Start: after(c)})()
		require.NoError(t, err)
	}
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		recv := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: after(c)})
		r, err := recv()
		require.NoError(t, err)
		require.NotEmpty(t, r.GetTimeseries())
	})
}

// A past state takes its room before it is rebuilt, and releases it.
func TestBytesOfThePast(t *testing.T) {
	src := newSource(t)
	src.append(tenLabels(0, 2*heldSeries))
	s := startFed(t, limited(t, 64*units.KiB), src)
	c := withinSnapshot(t, s)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: after(c)})()
		requireOver(t, err, false)
	})
	require.Eventually(t, func() bool { return s.metric(t, "promgrpc_server_stream_state_bytes") == 0 }, patience, time.Millisecond)

	with := startFed(t, testConfig(t), src)
	recv := with.call(t, &getRequest{Start: after(c), Follow: true})
	require.Greater(t, len(lines(until(t, recv, isSynced)...)), heldSeries)
	src.write(point{series: "more", t: 1, v: 1})
	until(t, recv, func(r *getResponse) bool { return len(r.GetTimeseries()) > 0 })
	require.Eventually(t, func() bool { return with.metric(t, "promgrpc_server_stream_state_bytes") == 0 }, patience, time.Millisecond)
}

// The pieces of logs that are being read take room, too.
func TestBytesOfLogs(t *testing.T) {
	src := newSource(t)
	src.write(heldPoints(1)...)
	s := startFed(t, limited(t, 64*units.KiB), src)
	for name, o := range map[string]connect.ClientOption{
		"grpc": connect.WithGRPC(), "grpcweb": connect.WithGRPCWeb(), "connect": connect.WithAcceptCompression("gzip", nil, nil),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readLogs(t, t.Context(), s, true, &metricsv1.ReadLogsRequest{}, o)
			requireOver(t, err, false)
		})
	}
	require.Zero(t, s.metric(t, "promgrpc_server_stream_state_bytes"))
}

// Selectors take room for as long as their stream lasts.
func TestBytesOfSelectors(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	c := limited(t, 64*units.KiB)
	s := startFed(t, c, src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := p.open(t, ctx, s.RPCAddr().String(), &getRequest{Follow: true, Selectors: []string{"{" + strings.Repeat(`a=~"b.c",`, int(c.SelectorSize/20)) + "}"}})()
		requireOver(t, err, false)
	})
}
