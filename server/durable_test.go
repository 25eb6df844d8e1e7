package server_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/logship"
)

// dialFeed says hello with the log of a source.
func (s *source) dialFeed(srv *instance, durable bool) (*link.Conn, *linkv1.Position) {
	s.t.Helper()
	id := s.writer.Log().ID()
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:], Durable: durable}
	c, welcome, err := link.Dial(s.t.Context(), srv.LinkAddr().String(), hello, link.Options{})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c, welcome.GetPosition()
}

// sendAfter sends all blocks after a sequence, and returns the position that has them, on
// the disk if that was asked for.
func (s *source) sendAfter(c *link.Conn, after uint64, durable bool) *linkv1.Position {
	s.t.Helper()
	last := s.writer.Log().Last()
	more := func(after uint64) bool { return after < last }
	require.NoError(s.t, logship.Send(s.t.Context(), s.writer.Log(), after, logship.Frames{Conn: c}, logship.Options{More: more}))
	for {
		f, err := c.Receive()
		require.NoError(s.t, err)
		p := f.GetPosition()
		require.NotNil(s.t, p)
		require.LessOrEqual(s.t, p.GetDurable(), last)
		if p.GetSequence() == last && (p.GetDurable() == last || !durable) {
			return p
		}
	}
}

// syncs counts the times that something was forced to the disk.
func (i *instance) syncs(t testing.TB) uint64 {
	t.Helper()
	families, err := i.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "promgrpc_log_sync_duration_seconds" {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	t.Fatal("nothing counts syncs")
	return 0
}

// A forwarder that asks for it is told what was forced to the disk: by the welcome what
// was by then, and then as soon as it was. Nothing is forced for others.
func TestDurablePositions(t *testing.T) {
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprint(durable), func(t *testing.T) {
			src, config := newSource(t), testConfig(t)
			src.write(point{series: "a", t: 1, v: 1})
			s := start(t, config)
			c, at := src.dialFeed(s, durable)
			require.Nil(t, at)
			var told *linkv1.Position
			for i := range 3 {
				before := s.syncs(t)
				told = src.sendAfter(c, uint64(i), durable)
				require.Equal(t, durable, told.GetDurable() == uint64(i+1))
				require.Equal(t, durable, s.syncs(t) > before)
				src.write(point{series: "a", t: int64(i + 2), v: 1})
			}
			logs := askStatus(t, s).GetLogs()
			require.Len(t, logs, 1)
			require.Equal(t, told.GetDurable(), logs[0].GetDurableSequence())
			require.NoError(t, c.Close())
			_, at = src.dialFeed(s, durable)
			require.Equal(t, uint64(3), at.GetSequence())
			require.Equal(t, told.GetDurable(), at.GetDurable(), "what was forced by then")
			s.stop()

			// After a restart nobody knows, until it was forced again.
			s = start(t, config)
			c, at = src.dialFeed(s, durable)
			require.Equal(t, uint64(3), at.GetSequence())
			require.Zero(t, at.GetDurable())
			if durable {
				f, err := c.Receive()
				require.NoError(t, err)
				require.Equal(t, uint64(3), f.GetPosition().GetDurable(), "nothing was sent")
			}
		})
	}
}
