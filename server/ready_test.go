package server_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
)

// A server that is new to an old log is not ready with the start of it, however late it
// learns how long the log is.
func TestReadyOnceCaughtUp(t *testing.T) {
	src := newSource(t)
	for i := range int64(3) {
		src.write(point{series: "a", t: i, v: 1})
		src.rotate()
	}
	s := start(t, testConfig(t))
	id := src.writer.Log().ID()
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}
	c, _, err := link.Dial(t.Context(), s.LinkAddr().String(), hello, link.Options{})
	require.NoError(t, err)
	defer c.Close()
	raw, err := src.writer.Log().ReadRaw(t.Context(), 0)
	require.NoError(t, err)
	defer raw.Close()
	last := src.writer.Log().Last()
	for sequence := uint64(0); sequence < last; {
		chunk, err := raw.Next(t.Context())
		require.NoError(t, err)
		if chunk.Start {
			require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Segment{
				Segment: &linkv1.SegmentStart{Name: chunk.SegmentName, FirstSequence: chunk.FirstSequence},
			}}))
		}
		require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Append{
			Append: &linkv1.SegmentAppend{Offset: chunk.Offset, Data: chunk.Data},
		}}))
		for sequence < chunk.LastSequence { // what it confirms, it has
			f, err := c.Receive()
			require.NoError(t, err)
			sequence = f.GetPosition().GetSequence()
			require.Error(t, s.Ready())
		}
	}
	require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Tail{Tail: &linkv1.Position{LogId: id[:], Sequence: last}}}))
	require.Eventually(t, func() bool { return s.Ready() == nil }, patience, time.Millisecond)
}

// A server that is restarted with an old state is not ready before the forwarder has
// brought the rest, unless there is none. It serves all the same.
func TestReadyAfterARestartWithAnOldState(t *testing.T) {
	src := newSource(t)
	long := func(v float64) {
		b := src.block(point{series: "a", t: 1, v: v})
		b.Time -= time.Hour.Milliseconds()
		src.append(b)
	}
	long(1)
	c := testConfig(t)
	s := startFed(t, c, src)
	s.stop()
	long(2)
	long(3)

	s = start(t, c)
	require.Error(t, s.Ready())
	require.Equal(t, []string{"a 1 @1"}, lines(all(t, s.call(t, &getRequest{Start: sinceStart()}))...))
	id := src.writer.Log().ID()
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}
	conn, _, err := link.Dial(t.Context(), s.LinkAddr().String(), hello, link.Options{})
	require.NoError(t, err)
	tail := &linkv1.Position{LogId: id[:], Sequence: 3}
	require.NoError(t, conn.Send(&linkv1.Frame{Kind: &linkv1.Frame_Tail{Tail: tail}}))
	for range 80 { // longer than it would wait for a forwarder
		require.Error(t, s.Ready())
		time.Sleep(100 * time.Millisecond)
	}
	require.NoError(t, conn.Close())
	src.feed(s.Server)
	s.await(t, src)
	s.stop()

	alone := start(t, c)
	require.Error(t, alone.Ready())
	require.Eventually(t, func() bool { return alone.Ready() == nil }, patience, 10*time.Millisecond)
}

// What is stored and followed does not depend on clocks. A snapshot has what a
// server calls written lately.
func TestForwardersClockDiffers(t *testing.T) {
	for off, live := range map[time.Duration]bool{-time.Hour: false, -time.Minute: true, time.Minute: true, time.Hour: true} {
		t.Run(off.String(), func(t *testing.T) {
			src := newSource(t)
			write := func(v float64) {
				b := src.block(point{series: "a", t: 5, v: v})
				b.Time += off.Milliseconds()
				src.append(b)
			}
			write(1)
			s := startFed(t, testConfig(t), src)
			recv := s.call(t, &getRequest{Start: sinceStart(), Follow: true})
			require.Equal(t, []string{"a 1 @5"}, lines(until(t, recv, isSynced)...))
			write(2)
			got := until(t, recv, func(r *getResponse) bool { return len(lines(r)) > 0 })
			require.Equal(t, []string{"a 2 @5"}, lines(got...))
			snapshot := lines(all(t, s.call(t, &getRequest{}))...)
			if live {
				require.Equal(t, []string{"a 2 @5"}, snapshot)
			} else {
				require.Empty(t, snapshot)
			}
		})
	}
}

// healthy asks over each protocol whether a server serves.
func healthy(t *testing.T, s *instance) (serving bool) {
	t.Helper()
	client, stop := httpClient(true)
	defer stop()
	answers := map[bool]int{}
	for _, o := range [][]connect.ClientOption{nil, {connect.WithGRPC()}, {connect.WithGRPCWeb()}} {
		c := connect.NewClient[healthv1.HealthCheckRequest, healthv1.HealthCheckResponse](
			client, "http://"+s.RPCAddr().String()+"/grpc.health.v1.Health/Check", o...)
		r, err := c.CallUnary(t.Context(), connect.NewRequest(&healthv1.HealthCheckRequest{}))
		require.NoError(t, err)
		serving = r.Msg.GetStatus() == healthv1.HealthCheckResponse_SERVING
		answers[serving]++
	}
	require.Len(t, answers, 1, "the same over all protocols")
	return serving
}

// A server in which something keeps blocks from being applied is not ready until they
// are.
func TestNotReadyWhileStuck(t *testing.T) {
	src := newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	s := startFed(t, testConfig(t), src)
	require.True(t, healthy(t, s))
	release := s.HoldUp()
	src.write(point{series: "a", t: 2, v: 2})
	stuck := assert.Eventually(t, func() bool { return s.Ready() != nil }, patience, 10*time.Millisecond)
	serving := healthy(t, s)
	release()
	require.True(t, stuck)
	require.False(t, serving)
	require.Eventually(t, func() bool { return s.Ready() == nil }, patience, time.Millisecond)
	require.True(t, healthy(t, s))
	s.await(t, src)
}

// A server of two logs that cannot write one of them is not ready, though the
// other goes on, until it can.
func TestNotReadyWhileWritingFails(t *testing.T) {
	one, other := newSource(t), newSource(t)
	one.write(point{series: "a", t: 1, v: 1})
	other.write(point{series: "b", t: 1, v: 1})
	c := testConfig(t)
	s := startFed(t, c, one, other)
	require.True(t, healthy(t, s))
	folder := filepath.Join(c.StoragePath, one.writer.Log().ID().String())
	require.DirExists(t, folder)
	require.NoError(t, os.Rename(folder, folder+".away"))
	require.NoError(t, os.WriteFile(folder, nil, 0o600))
	one.rotate()
	one.write(point{series: "a", t: 2, v: 2})
	require.Eventually(t, func() bool { return s.Ready() != nil }, patience, time.Millisecond)
	for i := range int64(50) {
		other.write(point{series: "b", t: 2 + i, v: 2})
		require.Error(t, s.Ready())
		time.Sleep(10 * time.Millisecond)
	}
	require.False(t, healthy(t, s))

	require.NoError(t, os.Remove(folder))
	require.NoError(t, os.Rename(folder+".away", folder))
	s.await(t, one, other)
	require.True(t, healthy(t, s))
	require.ElementsMatch(t, []string{"a 1 @1", "a 2 @2"}, lines(all(t, s.call(t, &getRequest{
		Start: sinceStart(), Selectors: []string{"a"},
	}))...))
}
