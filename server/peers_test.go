package server_test

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/server"
)

// peers are servers that know one another once they are introduced.
type peers struct {
	servers []*instance
	paths   []string
	known   directory
}

func startPeers(t *testing.T, n int, configure func(c *server.Config)) *peers {
	p := &peers{}
	address := p.known.start(t)
	for range n {
		c := testConfig(t)
		c.Peers = address
		c.CursorWait = 200 * time.Millisecond
		if configure != nil {
			configure(&c)
		}
		p.servers = append(p.servers, start(t, c))
		p.paths = append(p.paths, c.StoragePath)
	}
	return p
}

// introduce has the servers know one another, and whoever else is named.
func (p *peers) introduce() { p.known.set(p.servers...) }

// feedTo feeds a server until it has all that there is.
func (s *source) feedTo(t testing.TB, to *instance) {
	stop := s.feed(to.Server)
	to.await(t, s)
	stop()
}

// have waits until all servers have all of a log, and compares the files.
func (p *peers) have(t *testing.T, src *source) {
	t.Helper()
	for i, s := range p.servers {
		s.await(t, src)
		sameFiles(t, src, p.paths[i], src.dir)
	}
}

// ended waits until the log has ended at all servers, or at none.
func (p *peers) ended(t *testing.T, src *source, ended bool) {
	t.Helper()
	want := map[bool]float64{true: 1}[ended]
	for _, s := range p.servers {
		require.Eventually(t, func() bool {
			return s.metricOf(t, "promgrpc_server_log_ended", src.writer.Log().ID().String()) == want
		}, 2*time.Minute, 50*time.Millisecond)
	}
}

// beyond is a cursor that is ahead of all that anybody has of a log.
func beyond(src *source) *getRequest {
	c := cursor.Cursor{Positions: []cursor.Position{{Log: src.writer.Log().ID(), Sequence: src.writer.Log().Last() + 4}}}
	return &getRequest{Start: after(c.String())}
}

// A forwarder is gone, and each server has another part of its log, or nothing. All have the
// same soon, cursors are good at each, and a while later the log has ended: who is beyond
// that end goes on. When the forwarder is back the log goes on, at servers too that it does
// not reach.
func TestPeersGiveALogOneEnd(t *testing.T) {
	p := startPeers(t, 3, nil)
	src, live := newSource(t), newSource(t)
	src.write(point{series: "a", t: 1, v: 1})
	src.feedTo(t, p.servers[0])
	src.rotate()
	src.write(point{series: "a", t: 2, v: 2})
	src.write(point{series: "b", t: 3, v: 3})
	src.feedTo(t, p.servers[1])
	live.write(point{series: "live", t: 1, v: 1})
	for _, s := range p.servers {
		live.feed(s.Server)
		s.await(t, live)
	}
	tail := lastCursor(all(t, p.servers[1].call(t, &getRequest{})))
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	overAll(t, func(t *testing.T, pr protocol) {
		_, err := pr.open(t, ctx, p.servers[0].RPCAddr().String(), &getRequest{Start: after(tail)})()
		requireCode(t, connect.CodeUnavailable, err)
	})

	p.introduce()
	p.have(t, src)
	overAll(t, func(t *testing.T, pr protocol) {
		for _, s := range p.servers {
			require.Empty(t, lines(all(t, pr.open(t, ctx, s.RPCAddr().String(), &getRequest{Start: after(tail)}))...))
			require.ElementsMatch(t, []string{"a 2 @2", "b 3 @3", "live 1 @1"}, lines(all(t, pr.open(t, ctx, s.RPCAddr().String(), &getRequest{}))...))
			_, err := pr.open(t, ctx, s.RPCAddr().String(), beyond(src))()
			requireCode(t, connect.CodeUnavailable, err)
		}
	})

	p.ended(t, src, true)
	p.ended(t, live, false)
	overAll(t, func(t *testing.T, pr protocol) {
		for _, s := range p.servers {
			got := all(t, pr.open(t, ctx, s.RPCAddr().String(), beyond(src)))
			require.Equal(t, []string{"live 1 @1"}, lines(got...))
			require.Empty(t, gapsIn(got))
		}
	})

	src.write(point{series: "a", t: 4, v: 4})
	src.feed(p.servers[2].Server)
	p.have(t, src)
	p.ended(t, src, false)
	for _, s := range p.servers {
		require.Equal(t, []string{"a 4 @4"}, lines(all(t, s.call(t, &getRequest{Start: after(tail)}))...))
		require.Contains(t, s.log.String(), "log has ended")
	}
	require.Equal(t, 3.0, p.servers[0].metric(t, "promgrpc_server_exchanged_blocks_total"))
}
