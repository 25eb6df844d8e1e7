package server_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"
	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/server"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/router/merge"
	"github.com/promgrpc/exporter/server/router/raw"
)

// path is a way to a server that can be cut.
type path struct {
	listener net.Listener
	to       string

	mu   sync.Mutex
	open map[net.Conn]bool
	cut  bool
}

func newPath(t testing.TB, to string) *path {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &path{listener: l, to: to, open: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.pass(from) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.setCut(true)
		all.Wait()
	})
	return p
}

func (p *path) pass(from net.Conn) {
	to, err := net.Dial("tcp", p.to)
	if err != nil || !p.add(from, to) {
		_ = from.Close()
		if to != nil {
			_ = to.Close()
		}
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_, _ = way[0].Close(), way[1].Close()
		})
	}
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, from)
	delete(p.open, to)
}

func (p *path) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.open[c] = true
	}
	return !p.cut
}

// setCut breaks all connections off, and lets none be made, or lets them again.
func (p *path) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	for c := range p.open {
		if cut {
			_ = c.Close()
		}
	}
}

// breakOff breaks off what is open.
func (p *path) breakOff() {
	p.setCut(true)
	p.setCut(false)
}

// cutGroup is a group of servers whose ways can be cut.
type cutGroup struct {
	name    string
	paths   []*path
	conns   []*grpc.ClientConn
	changed *broadcast.Signal

	mu    sync.Mutex
	turn  int
	logs  map[segment.LogID]bool
	known bool
	away  bool
}

func newCutGroup(t testing.TB, name string, servers ...*instance) *cutGroup {
	g := &cutGroup{name: name, changed: new(broadcast.Signal), logs: map[segment.LogID]bool{}}
	for _, s := range servers {
		p := newPath(t, s.RPCAddr().String())
		conn, err := grpc.NewClient("passthrough:///"+p.listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		g.paths, g.conns = append(g.paths, p), append(g.conns, conn)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var polling sync.WaitGroup
	polling.Go(func() {
		for ctx.Err() == nil {
			g.Refresh(ctx)
			time.Sleep(10 * time.Millisecond)
		}
	})
	t.Cleanup(func() { cancel(); polling.Wait() })
	return g
}

// setAway cuts all ways to the group, or opens them.
func (g *cutGroup) setAway(away bool) {
	for _, p := range g.paths {
		p.setCut(away)
	}
}

func (g *cutGroup) Name() string { return g.name }
func (g *cutGroup) Servers() int { return len(g.paths) }

func (g *cutGroup) Logs() (map[segment.LogID]bool, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.logs, g.known
}

func (g *cutGroup) Away() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.away
}

func (g *cutGroup) Refresh(ctx context.Context) {
	away, logs := true, map[segment.LogID]bool{}
	for _, conn := range g.conns {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		status, err := metricsv1grpc.NewMetricsServiceClient(conn).GetStatus(ctx, &metricsv1.GetStatusRequest{})
		cancel()
		if err != nil {
			conn.ResetConnectBackoff()
			continue
		}
		away = false
		for _, l := range status.GetLogs() {
			if id, err := segment.ParseLogID(l.GetLogId()); err == nil {
				logs[id] = true
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for id := range g.logs {
		logs[id] = true
	}
	changed := away != g.away || len(logs) != len(g.logs) || !g.known && !away
	g.away, g.logs, g.known = away, logs, g.known || !away
	if changed {
		g.changed.Wake()
	}
}

func (g *cutGroup) Open(ctx context.Context, procedure string, request proto.Message) (merge.Upstream, error) {
	g.mu.Lock()
	g.turn = (g.turn + 1) % len(g.paths)
	conn := g.conns[g.turn]
	g.mu.Unlock()
	return raw.Open(ctx, conn, procedure, request)
}

// merging makes one stream of the groups.
type merging struct {
	address string
	streams *merge.Streams
	held    *limit.Budget // bytes of the streams

	mu      sync.Mutex
	groups  []*cutGroup
	changed broadcast.Signal
}

func (r *merging) Groups() ([]merge.Group, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := r.changed.Next()
	list := make([]merge.Group, len(r.groups))
	for i, g := range r.groups {
		list[i] = g
	}
	return list, changed
}

// setGroups changes the groups file.
func (r *merging) setGroups(groups ...*cutGroup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.groups = groups
	r.changed.Wake()
}

type writerKey struct{}

func newMerging(t testing.TB, maxAge time.Duration, groups ...*cutGroup) *merging {
	r := &merging{groups: groups, held: limit.NewBudget("stream-bytes", "bytes", 1<<30, 0)}
	logger := throttle.New(slog.New(slog.DiscardHandler), time.Minute)
	bounds := call.DefaultBounds()
	bounds.MaxAge = maxAge
	r.streams = &merge.Streams{
		Calls: call.New(bounds, call.Shared{
			Refusals: refusal.New(), Log: logger, Begun: func() error { return nil },
			Open: limit.NewBudget("streams", "streams", 1000, 0), Watches: limit.NewBudget("w", "w", 1000, 0), Bytes: r.held,
		}),
		Groups: r, Timeout: 10 * time.Second, Staleness: 5 * time.Minute, Metrics: merge.NewMetrics(),
		Narrow: func(_ context.Context, _ call.Caller, selectors []string) ([]string, error) { return selectors, nil },
	}
	// A change of a group is one of the groups.
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			r.mu.Lock()
			list := slices.Clone(r.groups)
			r.mu.Unlock()
			for _, g := range list {
				select {
				case <-g.changed.Next():
				case <-time.After(5 * time.Millisecond):
				}
			}
			r.changed.Wake()
		}
	})
	room := limit.NewBudget("call-bytes", "bytes", 1<<30, 0)
	handler := connect.NewServerStreamHandler(metricsv1connect.MetricsServiceGetMetricsProcedure,
		func(ctx context.Context, req *connect.Request[getRequest], out *connect.ServerStream[call.Response]) error {
			w := ctx.Value(writerKey{}).(http.ResponseWriter)
			from := call.Caller{Peer: "127.0.0.1", Writer: w, Control: http.NewResponseController(w), Room: room.Hold("127.0.0.1")}
			return r.streams.GetMetrics(ctx, from, req.Msg, out)
		},
		connect.WithSchema(metricsv1.File_promgrpc_metrics_v1_metrics_service_proto.Services().ByName("MetricsService").Methods().ByName("GetMetrics")),
		connect.WithIdempotency(connect.IdempotencyNoSideEffects), call.Codecs())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r.address = l.Addr().String()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		handler.ServeHTTP(w, q.WithContext(context.WithValue(q.Context(), writerKey{}, w)))
	})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		r.streams.Calls.Drain()
		cancel()
		watching.Wait()
		_ = s.Close()
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return r
}

// twoGroups are two groups of two servers each, whose logs are fed by a source.
type twoGroups struct {
	sources [2]*source
	servers [2][2]*instance
	groups  [2]*cutGroup
}

func newTwoGroups(t testing.TB) *twoGroups {
	first, second := newSource(t), newSource(t)
	first.write(point{series: "a_first", t: 1, v: 1})
	second.write(point{series: "b_first", t: 1, v: 1})
	return twoGroupsOf(t, first, second)
}

// twoGroupsOf are those whose logs are these. Each set sees the configuration of each server,
// with the name of its group.
func twoGroupsOf(t testing.TB, first, second *source, set ...func(group string, c *server.Config)) *twoGroups {
	two := &twoGroups{sources: [2]*source{first, second}}
	for i, name := range []string{"a", "b"} {
		for j := range two.servers[i] {
			c := testConfig(t)
			for _, set := range set {
				set(name, &c)
			}
			two.servers[i][j] = startFed(t, c, two.sources[i])
		}
		two.groups[i] = newCutGroup(t, name, two.servers[i][0], two.servers[i][1])
	}
	return two
}

func (two *twoGroups) await(t testing.TB) {
	for i := range two.sources {
		for _, s := range two.servers[i] {
			s.await(t, two.sources[i])
		}
	}
}
