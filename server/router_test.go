package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	"github.com/promgrpc/exporter/server/internal/logtest"
	"github.com/promgrpc/exporter/server/router"
)

// routing is a router over two groups of two servers.
type routing struct {
	*router.Router
	two  *twoGroups
	stop func()
	log  *logtest.Text
	reg  *prometheus.Registry
	file string // of the groups
}

// file is a groups file of some of the groups.
func (two *twoGroups) file(groups ...int) string {
	var text strings.Builder
	text.WriteString("groups:\n")
	for _, i := range groups {
		fmt.Fprintf(&text, "  %s: {servers: %q}\n", []string{"a", "b"}[i], two.servers[i][0].RPCAddr().String()+","+two.servers[i][1].RPCAddr().String())
	}
	return text.String()
}

// startRouter starts one, and waits until it knows its groups.
func startRouter(t testing.TB, two *twoGroups, set ...func(*router.Config)) *routing {
	t.Helper()
	r := newRouting(t, two, set...)
	r.awaitReady(t)
	return r
}

func (r *routing) awaitReady(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool { return r.Ready() == nil }, patience, time.Millisecond)
}

// newRouting starts a router.
func newRouting(t testing.TB, two *twoGroups, set ...func(*router.Config)) *routing {
	t.Helper()
	file := filepath.Join(t.TempDir(), "groups.yml")
	require.NoError(t, os.WriteFile(file, []byte(two.file(0, 1)), 0o600))
	c := router.DefaultConfig()
	c.GroupsFile, c.RPCAddress, c.WebAddress = file, "127.0.0.1:0", "127.0.0.1:0"
	c.DrainTimeout = 3 * time.Second
	for _, set := range set {
		set(&c)
	}
	log, reg := new(logtest.Text), prometheus.NewRegistry()
	r, err := router.New(c, slog.New(slog.NewTextHandler(log, nil)), reg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-ended)
		}
	}
	t.Cleanup(stop)
	return &routing{Router: r, two: two, stop: stop, log: log, reg: reg, file: file}
}

func (r *routing) address() string { return r.RPCAddr().String() }

// clientOf is for calls with one answer over a protocol.
func clientOf(t testing.TB, p protocol, address string) metricsv1connect.MetricsServiceClient {
	if p.options == nil {
		return connectClient(t, address, true, connect.WithGRPC())
	}
	return connectClient(t, address, p.h2, p.options...)
}

// All calls at once get from a router what one server with the logs of all groups says.
func TestRouterLooksUp(t *testing.T) {
	two := newTwoGroups(t)
	two.fill(100)
	two.await(t)
	one := startFed(t, testConfig(t), two.sources[0], two.sources[1])
	r := startRouter(t, two)
	overAll(t, func(t *testing.T, p protocol) {
		routed, whole := clientOf(t, p, r.address()), clientOf(t, p, one.RPCAddr().String())
		for _, limit := range []uint32{0, 1, 2, 3} {
			for _, selectors := range [][]string{nil, {"a"}, {`{i="1"}`, "b_first"}} {
				q := &metricsv1.GetLabelNamesRequest{Selectors: selectors, Limit: limit}
				got, err := routed.GetLabelNames(t.Context(), connect.NewRequest(q))
				require.NoError(t, err)
				want, err := whole.GetLabelNames(t.Context(), connect.NewRequest(q))
				require.NoError(t, err)
				require.Equal(t, want.Msg.GetNames(), got.Msg.GetNames())
				require.Equal(t, want.Msg.GetTruncated(), got.Msg.GetTruncated(), "%v %d", selectors, limit)
				for _, name := range []string{"__name__", "i", "none"} {
					q := &metricsv1.GetLabelValuesRequest{Name: name, Selectors: selectors, Limit: limit}
					got, err := routed.GetLabelValues(t.Context(), connect.NewRequest(q))
					require.NoError(t, err)
					want, err := whole.GetLabelValues(t.Context(), connect.NewRequest(q))
					require.NoError(t, err)
					require.Equal(t, want.Msg.GetValues(), got.Msg.GetValues())
					require.Equal(t, want.Msg.GetTruncated(), got.Msg.GetTruncated())
				}
			}
		}
		segments, err := routed.ListSegments(t.Context(), connect.NewRequest(&metricsv1.ListSegmentsRequest{}))
		require.NoError(t, err)
		all, err := whole.ListSegments(t.Context(), connect.NewRequest(&metricsv1.ListSegmentsRequest{}))
		require.NoError(t, err)
		require.Len(t, segments.Msg.GetSegments(), len(all.Msg.GetSegments()))
		status, err := routed.GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
		require.NoError(t, err)
		want, err := whole.GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
		require.NoError(t, err)
		require.Equal(t, want.Msg.GetLiveSeries(), status.Msg.GetLiveSeries())
		require.Equal(t, want.Msg.GetCursor(), status.Msg.GetCursor())
		require.Len(t, status.Msg.GetLogs(), 2)
		require.Len(t, status.Msg.GetGroups(), 2)
		for _, g := range status.Msg.GetGroups() {
			require.False(t, g.GetAway())
			require.Len(t, g.GetServers(), 2)
			require.Len(t, g.GetLogIds(), 1)
		}
	})
}

// What comes through a router is what its groups have, over every protocol.
func TestRouterStreams(t *testing.T) {
	two := newTwoGroups(t)
	two.fill(50)
	r := startRouter(t, two)
	for _, req := range []*getRequest{{Start: fromTheStart}, {}, {Start: fromTheStart, Selectors: []string{`{i="1"}`}}} {
		want := two.want(t, req)
		overAll(t, func(t *testing.T, p protocol) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			requireUnion(t, want, lines(all(t, p.open(t, ctx, r.address(), req))...))
		})
	}
}

// A server that is gone is not missed, and a group that is away is waited for or not, as the
// caller says.
func TestRouterWhenAway(t *testing.T) {
	two := newTwoGroups(t)
	r := startRouter(t, two, func(c *router.Config) { c.Timeout = time.Second })
	ask := func(p protocol, when metricsv1.WhenAway) ([]string, error) {
		res, err := clientOf(t, p, r.address()).GetLabelValues(t.Context(), connect.NewRequest(&metricsv1.GetLabelValuesRequest{Name: "__name__", WhenAway: when}))
		if err != nil {
			return nil, err
		}
		return res.Msg.GetValues(), nil
	}
	two.servers[1][0].stop()
	overAll(t, func(t *testing.T, p protocol) {
		names, err := ask(p, metricsv1.WhenAway_WHEN_AWAY_UNSPECIFIED)
		require.NoError(t, err)
		require.Equal(t, []string{"a_first", "b_first"}, names)
	})
	two.servers[1][1].stop()
	require.Eventually(t, func() bool {
		res, err := clientOf(t, protocols[0], r.address()).GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
		return err == nil && res.Msg.GetGroups()[1].GetAway()
	}, patience, 50*time.Millisecond)
	overAll(t, func(t *testing.T, p protocol) {
		for _, when := range []metricsv1.WhenAway{metricsv1.WhenAway_WHEN_AWAY_WAIT, metricsv1.WhenAway_WHEN_AWAY_REFUSE} {
			_, err := ask(p, when)
			require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err), "%v", err)
			require.ErrorContains(t, err, "group b")
		}
		_, err := clientOf(t, p, r.address()).GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{WhenAway: metricsv1.WhenAway_WHEN_AWAY_REFUSE}))
		require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err))
		res, err := clientOf(t, p, r.address()).GetStatus(t.Context(), connect.NewRequest(&metricsv1.GetStatusRequest{}))
		require.NoError(t, err)
		require.False(t, res.Msg.GetGroups()[0].GetAway())
		require.True(t, res.Msg.GetGroups()[1].GetAway())
		require.True(t, res.Msg.GetReady())
	})
}

// Each log comes through a router byte for byte, from its own group.
func TestRouterReadsLogs(t *testing.T) {
	two := newTwoGroups(t)
	two.fill(100)
	two.await(t)
	r := startRouter(t, two)
	bytesOf := func(address string, p protocol, q *metricsv1.ReadLogsRequest) map[string]string {
		stream, err := clientOf(t, p, address).ReadLogs(t.Context(), connect.NewRequest(q))
		require.NoError(t, err)
		defer stream.Close()
		got, ended := map[string]string{}, false
		for stream.Receive() {
			require.False(t, ended)
			ended = stream.Msg().GetEnd() != nil
			if id := stream.Msg().GetLogId(); id != "" {
				got[id] += string(stream.Msg().GetData().GetData())
			}
		}
		require.NoError(t, stream.Err())
		require.True(t, ended)
		return got
	}
	overAll(t, func(t *testing.T, p protocol) {
		want := bytesOf(two.servers[0][0].RPCAddr().String(), p, &metricsv1.ReadLogsRequest{})
		for id, data := range bytesOf(two.servers[1][1].RPCAddr().String(), p, &metricsv1.ReadLogsRequest{}) {
			want[id] = data
		}
		require.Len(t, want, 2)
		require.Equal(t, want, bytesOf(r.address(), p, &metricsv1.ReadLogsRequest{}))
		only := two.sources[1].writer.Log().ID().String()
		require.Equal(t, map[string]string{only: want[only]}, bytesOf(r.address(), p, &metricsv1.ReadLogsRequest{LogIds: []string{only}}))
	})
}
