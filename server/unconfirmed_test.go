package server_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server"
)

// invent says hello with a log that nobody writes.
func invent(t testing.TB, s *instance) *link.Conn {
	t.Helper()
	id := segment.NewLogID()
	c, _, err := link.Dial(t.Context(), s.LinkAddr().String(), &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:]}, link.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// begin starts a segment of a log, and leaves it there.
func begin(t testing.TB, c *link.Conn) {
	t.Helper()
	name := fmt.Sprintf("20261128T000000.000Z-%020d.seg", 1)
	require.NoError(t, c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Segment{Segment: &linkv1.SegmentStart{Name: name, FirstSequence: 1}}}))
}

// folders of logs that a server has.
func folders(t testing.TB, c server.Config) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(c.StoragePath, "????????????????????????????????"))
	require.NoError(t, err)
	return found
}

func askStatus(t testing.TB, s *instance) *metricsv1.GetStatusResponse {
	t.Helper()
	res, err := connectClient(t, s.RPCAddr().String(), false).GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
	require.NoError(t, err)
	return res.Msg
}

// Logs that somebody invents, twice as many as there are places for, take no place, and
// leave nothing behind.
func TestInventedLogs(t *testing.T) {
	config := testConfig(t)
	s := start(t, config)
	var invented []*link.Conn
	for range 2 * cursor.MaxLogs {
		invented = append(invented, invent(t, s))
	}
	require.Empty(t, folders(t, config), "a hello makes nothing")
	begin(t, invented[0])
	require.Eventually(t, func() bool { return len(folders(t, config)) == 1 }, patience, time.Millisecond)
	require.Empty(t, askStatus(t, s).GetLogs())

	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	src.feed(s.Server)
	s.await(t, src)
	require.Len(t, askStatus(t, s).GetLogs(), 1)
	at, err := cursor.Parse(askStatus(t, s).GetCursor())
	require.NoError(t, err)
	require.Len(t, at.Positions, 1)
	overAll(t, func(t *testing.T, p protocol) {
		require.Len(t, lines(all(t, p.open(t, t.Context(), s.RPCAddr().String(), &getRequest{}))...), 1)
	})

	for _, c := range invented {
		require.NoError(t, c.Close())
	}
	require.Eventually(t, func() bool { return len(folders(t, config)) == 1 }, patience, time.Millisecond)
	require.DirExists(t, filepath.Join(config.StoragePath, src.writer.Log().ID().String()))
}

// What is left of a log that was not confirmed when the process was killed is removed at
// the start.
func TestUnconfirmedAfterAKill(t *testing.T) {
	config := testConfig(t)
	torn := filepath.Join(config.StoragePath, segment.NewLogID().String())
	require.NoError(t, os.Mkdir(torn, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(torn, "20261128T000000.000Z-00000000000000000001.seg"), []byte("PGRPC"), 0o600))
	s := start(t, config)
	require.NoDirExists(t, torn)
	require.Empty(t, askStatus(t, s).GetLogs())
}

// One peer begins only so many logs at a time; those of others are not concerned.
func TestLogsThatAreBegun(t *testing.T) {
	config := testConfig(t)
	config.NewLogs = 4
	share := config.NewLogs * config.PeerShare / 100
	s := start(t, config)
	begun := make([]*link.Conn, share)
	for i := range begun {
		begun[i] = invent(t, s)
		begin(t, begun[i])
	}
	require.Eventually(t, func() bool { return len(folders(t, config)) == share }, patience, time.Millisecond)
	further := invent(t, s)
	begin(t, further)
	_, err := further.Receive()
	require.ErrorContains(t, err, "--limit.new-logs")
	require.Equal(t, 1.0, s.metricOf(t, "promgrpc_server_refused_logs_total", "new-logs"))

	require.NoError(t, begun[0].Close())
	src := newSource(t)
	src.write(point{series: "a", t: now(), v: 1})
	src.feed(s.Server)
	s.await(t, src)
}

// fill gives a server as many logs as it can have.
func fill(t testing.TB, s *instance) (sources []*source) {
	t.Helper()
	for range cursor.MaxLogs {
		src := newSource(t)
		src.write(point{series: "a", t: now(), v: 1})
		src.feed(s.Server)
		sources = append(sources, src)
	}
	s.await(t, sources...)
	return sources
}

// A server all of whose places are taken by logs that live refuses another one, and says
// so everywhere. What it has it serves.
func TestNoPlaceForALog(t *testing.T) {
	s := start(t, testConfig(t))
	fill(t, s)
	require.NoError(t, s.Ready())
	require.Empty(t, askStatus(t, s).GetNotReady())
	before := lines(all(t, s.call(t, &getRequest{}))...)

	src := newSource(t)
	src.write(point{series: "another", t: now(), v: 1})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := src.feedOnce(ctx, s.LinkAddr().String())
	require.ErrorContains(t, err, "the most that it may")
	require.ErrorContains(t, s.Ready(), "the most that it may")
	require.Equal(t, http.StatusServiceUnavailable, readyStatus(t, s.Server))
	require.Contains(t, askStatus(t, s).GetNotReady(), "the most that it may")
	require.Equal(t, 1.0, s.metricOf(t, "promgrpc_server_refused_logs_total", "logs"))
	require.Contains(t, s.log.String(), "the most that it may")
	require.Len(t, askStatus(t, s).GetLogs(), cursor.MaxLogs)
	require.Equal(t, before, lines(all(t, s.call(t, &getRequest{}))...))
}

// A relay that has no place for a log of its upstream goes on with the others.
func TestRelayHasNoPlaceForALog(t *testing.T) {
	config := testConfig(t)
	full := start(t, config)
	known := fill(t, full)[0]
	full.stop()
	another := newSource(t)
	another.write(point{series: "another", t: now(), v: 1})
	relay := startRelay(t, config, startFed(t, testConfig(t), known, another))
	require.Eventually(t, func() bool { return relay.metricOf(t, "promgrpc_server_refused_logs_total", "logs") == 1 }, patience, time.Millisecond)
	known.write(point{series: "a", t: now(), v: 2})
	require.Eventually(t, func() bool { return relay.last(t, known) == known.seq }, patience, time.Millisecond)
	require.Contains(t, askStatus(t, relay).GetNotReady(), "the most that it may")
	require.Equal(t, 1.0, relay.metricOf(t, "promgrpc_server_refused_logs_total", "logs"), "the connection goes on")
}
