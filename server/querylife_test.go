package server_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/alecthomas/units"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/internal/h2frames"
	"github.com/promgrpc/exporter/internal/seglog"
)

func isQuerySynced(m *queryResponse) bool { return m.GetSynced() != nil }

// untilError receives until the stream ends with an error.
func (r *results) untilError(recv queryReceiver) error {
	r.t.Helper()
	for {
		m, err := recv()
		if err != nil {
			return err
		}
		r.add(m)
	}
}

// ticking is a server with a log of one series that has come to a step, and goes on by ten
// seconds.
func ticking(t *testing.T) (src *source, tick func() int64) {
	src = newSourceAt(t, t0)
	src.writeAt(t0+1, point{series: "m", t: t0, v: 1})
	at := t0 + 10*second
	src.tickAt(at)
	return src, func() int64 {
		at += 10 * second
		src.writeAt(at-second, point{series: "m", t: at - second, v: float64(at)})
		src.tickAt(at)
		return at
	}
}

// All who follow the same have each step from one evaluation, and its bytes.
func TestQueryIsShared(t *testing.T) {
	const subscribers, steps = 20, 5
	src, tick := ticking(t)
	srv := startFed(t, testConfig(t), src)
	recv := make([]queryReceiver, subscribers)
	got := make([]*results, subscribers)
	for i := range recv {
		req := follow()
		req.Expression = "m" + strings.Repeat(" ", i)
		req.LabelReferences, req.OnChange = i%2 == 1, i%3 == 1
		recv[i], got[i] = srv.query(t, req), newResults(t)
		got[i].until(recv[i], isQuerySynced)
	}
	require.InDelta(t, subscribers, srv.metricOf(t, "promgrpc_server_query_streams", "following"), 0)
	for range steps {
		at := tick()
		for i := range recv {
			got[i].until(recv[i], upTo(at))
		}
	}
	for i := range got {
		require.Equal(t, byStep(t, got[0]), byStep(t, got[i]))
	}
	require.InDelta(t, 1+steps, srv.metricOf(t, "promgrpc_server_query_evaluations_total", "step"), 0)
	require.InDelta(t, 0, srv.metricOf(t, "promgrpc_server_query_evaluations_total", "replay"), 0)
	require.InDelta(t, (1+steps)*(subscribers-1), srv.metric(t, "promgrpc_server_query_shared_total"), 0)
	require.InDelta(t, (1+steps)*subscribers, srv.metric(t, "promgrpc_server_query_steps_total"), 0)
	require.NotZero(t, srv.metric(t, "promgrpc_server_stream_state_bytes"))
}

// What is evaluated for nobody any more is given up, memory and all.
func TestQueryIsLeft(t *testing.T) {
	src, tick := ticking(t)
	srv := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		recv := p.openQuery(t, ctx, srv.RPCAddr().String(), follow())
		got := newResults(t).until(recv, isQuerySynced)
		got.until(recv, upTo(tick()))
		cancel()
		require.Error(t, got.untilError(recv))
		for _, gone := range []string{"promgrpc_server_stream_state_bytes", "promgrpc_server_query_streams", "promgrpc_server_streams"} {
			require.Eventually(t, func() bool { return srv.metric(t, gone) == 0 }, patience, time.Millisecond, gone)
		}
	})
}

// A query that follows shows that it is alive.
func TestQueryHeartbeats(t *testing.T) {
	src, tick := ticking(t)
	srv := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req := follow()
		req.Expression, req.OnChange, req.HeartbeatInterval = "m > 0 or vector(0) > 1", true, millis(100)
		recv := p.openQuery(t, ctx, srv.RPCAddr().String(), req)
		got := newResults(t).until(recv, isQuerySynced)
		for range 3 {
			got.until(recv, func(m *queryResponse) bool { return m.GetHeartbeat() != nil })
		}
		// Of a step of which nothing has changed a heartbeat has the cursor.
		req.Expression = "m > 1e18"
		recv = p.openQuery(t, ctx, srv.RPCAddr().String(), req)
		got = newResults(t).until(recv, isQuerySynced)
		got.until(recv, upTo(tick()))
		require.NotNil(t, got.last.GetHeartbeat())
		require.Empty(t, got.lines)
	})
}

// A server that shuts down, and one at which a client has been for long, give the cursor
// at which another one goes on.
func TestQueryGoesOnElsewhere(t *testing.T) {
	for _, reason := range []metricsv1.StreamInterrupted_Reason{metricsv1.StreamInterrupted_REASON_DRAINING, metricsv1.StreamInterrupted_REASON_MAX_AGE} {
		t.Run(reason.String(), func(t *testing.T) {
			overAll(t, func(t *testing.T, p protocol) {
				src, tick := ticking(t)
				c := testConfig(t)
				if reason == metricsv1.StreamInterrupted_REASON_MAX_AGE {
					c.MaxAge = time.Second
				}
				srv, other := startFed(t, c, src), startFed(t, testConfig(t), src)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				req := follow()
				req.Start = sinceQuery(t0)
				recv := p.openQuery(t, ctx, srv.RPCAddr().String(), req)
				got := newResults(t).until(recv, isQuerySynced)
				got.until(recv, upTo(tick()))
				if reason == metricsv1.StreamInterrupted_REASON_DRAINING {
					go srv.stop()
				}
				err := got.untilError(recv)
				requireCode(t, connect.CodeUnavailable, err)
				told := detail[*metricsv1.StreamInterrupted](t, err)
				require.Equal(t, reason, told.GetReason())
				require.Equal(t, got.cursor, told.GetCursor())
				got.lines = nil
				req.Start = afterQuery(told.GetCursor())
				recv = p.openQuery(t, ctx, other.RPCAddr().String(), req)
				at := tick()
				got.until(recv, upTo(at))
				require.Equal(t, []string{fmt.Sprintf("m %v @%d", float64(at), at)}, got.lines)
			})
		})
	}
}

// A cursor of a step that is not due here is waited for, for as long as a replica may lag.
func TestQueryAhead(t *testing.T) {
	src, tick := ticking(t)
	c := testConfig(t)
	c.CursorWait = 100 * time.Millisecond
	ahead, behind := startFed(t, testConfig(t), src), start(t, c)
	stop := src.feed(behind.Server)
	behind.await(t, src)
	stop()
	tick()
	ahead.await(t, src)
	got := newResults(t).all(ahead.query(t, &queryRequest{Expression: "m", Step: secs(10), Delay: millis(0)}))
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req := follow()
		req.Start = afterQuery(got.cursor)
		_, err := p.openQuery(t, ctx, behind.RPCAddr().String(), req)()
		requireCode(t, connect.CodeUnavailable, err)
		require.Equal(t, got.cursor, detail[*metricsv1.StreamInterrupted](t, err).GetCursor())
	})
	c = testConfig(t)
	c.CursorWait = patience
	late := start(t, c)
	half := src.feed(late.Server)
	late.await(t, src)
	half()
	at := tick()
	ahead.await(t, src)
	got = newResults(t).all(ahead.query(t, &queryRequest{Expression: "m", Step: secs(10), Delay: millis(0)}))
	require.Equal(t, at, got.last.GetEvaluated().AsTime().UnixMilli())
	req := follow()
	req.Start = afterQuery(got.cursor)
	recv := late.query(t, req)
	src.feed(late.Server)
	got = newResults(t).until(recv, isQuerySynced)
	got.until(recv, upTo(tick()))
	require.Len(t, got.lines, 1)
}

// A cursor of which the samples are gone is refused, with the oldest that works.
func TestQueryTooOld(t *testing.T) {
	src := newSourceAt(t, t0)
	src.writeAt(t0+1, point{series: "m", t: t0, v: 1})
	src.tickAt(t0 + 10*second)
	srv := startFed(t, testConfig(t), src)
	old := newResults(t).all(srv.query(t, &queryRequest{Expression: "m", Step: secs(10), Delay: millis(0)}))

	late := newSourceWith(t, seglog.Options{RetentionSize: 1})
	for range 3 {
		late.writeAt(now(), point{series: "m", t: now(), v: 2})
		late.rotate()
	}
	late.tickAt(now() + 20*second)
	c := startFed(t, testConfig(t), late)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req := &queryRequest{Expression: "m", Step: secs(10), Delay: millis(0), Start: afterQuery(old.cursor)}
		_, err := p.openQuery(t, ctx, c.RPCAddr().String(), req)()
		requireCode(t, connect.CodeOutOfRange, err)
		req.Start = afterQuery(detail[*metricsv1.CursorOutOfRange](t, err).GetOldestCursor())
		newResults(t).all(p.openQuery(t, ctx, c.RPCAddr().String(), req))
	})
}

// A large step takes several responses, of which the last has the cursor.
func TestQueryLargeStep(t *testing.T) {
	const series = 8000
	src := newSourceAt(t, t0)
	points := make([]point, series)
	for i := range points {
		points[i] = point{series: name(i), t: t0, v: float64(i)}
	}
	src.writeAt(t0, points...)
	src.tickAt(t0 + 10*second)
	srv := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req := &queryRequest{Expression: "m", Step: secs(10), Delay: millis(0), LabelReferences: true}
		got := newResults(t).all(p.openQuery(t, ctx, srv.RPCAddr().String(), req))
		require.Len(t, got.lines, series)
		parts := 0
		for _, m := range got.messages {
			if len(m.GetTimeseries()) > 0 {
				parts++
				require.Equal(t, len(got.lines) > 0 && m.GetCursor() != "", m.GetEvaluated() != nil)
			}
			require.LessOrEqual(t, proto.Size(m), h2frames.Large)
		}
		require.Greater(t, parts, 1)
		require.Empty(t, got.messages[0].GetCursor())
	})
}

// Streams of queries count as all others do, and what they hold has the limit of all.
func TestQueryLimits(t *testing.T) {
	src, _ := ticking(t)
	c := testConfig(t)
	c.Streams, c.PeerShare = 1, 100
	srv := startFed(t, c, src)
	newResults(t).until(srv.query(t, follow()), isQuerySynced)
	_, err := srv.query(t, follow())()
	requireCode(t, connect.CodeResourceExhausted, err)
	require.ErrorContains(t, err, "--limit.streams")

	many := newSourceAt(t, t0)
	points := make([]point, heldSeries)
	for i := range points {
		points[i] = point{series: name(i), t: t0, v: float64(i)}
	}
	many.writeAt(t0, points...)
	many.tickAt(t0 + 10*second)
	srv = startFed(t, limited(t, 64*units.KiB), many)
	_, err = srv.query(t, follow())()
	requireOver(t, err, false)
	require.Eventually(t, func() bool { return srv.metric(t, "promgrpc_server_stream_state_bytes") == 0 }, patience, time.Millisecond)

	c = testConfig(t)
	c.Engine.Samples = 10
	srv = startFed(t, c, many)
	_, err = srv.query(t, follow())()
	requireCode(t, connect.CodeResourceExhausted, err)
	require.ErrorContains(t, err, "--limit.query-samples")
}

// A relay says the same as its server, with cursors that either takes.
func TestQueryOfARelay(t *testing.T) {
	src, tick := ticking(t)
	srv := startFed(t, testConfig(t), src)
	relay := startRelay(t, testConfig(t), srv)
	relay.await(t, src)
	req := follow()
	req.Start = sinceQuery(t0)
	recv := relay.query(t, req)
	got := newResults(t).until(recv, isQuerySynced)
	at := tick()
	got.until(recv, upTo(at))
	req.Follow = false
	want := newResults(t).all(srv.query(t, req))
	require.Equal(t, byStep(t, want), byStep(t, got))
	req.Start = afterQuery(got.cursor)
	tick()
	srv.await(t, src)
	require.Len(t, newResults(t).all(srv.query(t, req)).lines, 1)
}

// queryAs returns a client of queries that has a token.
func (v way) queryAs(t testing.TB, s listening, token string) (queryv1connect.QueryServiceClient, *tapped) {
	client, stop := httpClient(v.h2)
	t.Cleanup(stop)
	w := &tapped{RoundTripper: client.Transport, token: token}
	return queryv1connect.NewQueryServiceClient(&http.Client{Transport: w}, "http://"+s.RPCAddr().String(), v.options...), w
}

// A caller sees its own series only, and shares with nobody of another policy.
func TestQueryOfPolicies(t *testing.T) {
	src := newSourceAt(t, t0)
	src.writeAt(t0, point{series: `m{team="a"}`, t: t0, v: 1}, point{series: `m{team="b"}`, t: t0, v: 2})
	src.tickAt(t0 + 10*second)
	requireQueriesOfPolicies(t, startFed(t, restricted(t, twoTeams), src))
}

// requireQueriesOfPolicies asks for the sum of two series, as each team and as who sees both.
func requireQueriesOfPolicies(t *testing.T, s listening) {
	t.Helper()
	overWays(t, func(t *testing.T, v way) {
		var all sync.WaitGroup
		for token, want := range map[string]string{"a": " 1", "b": " 2", "all": " 3"} {
			all.Go(func() {
				c, _ := v.queryAs(t, s, token)
				got, err := queryAll(t.Context(), c, &queryRequest{Expression: "sum(m)", Step: secs(10), Delay: millis(0)})
				if err != nil || len(got) == 0 || len(got[0].GetTimeseries()) != 1 || tsLines(got[0].GetTimeseries()[0])[0] != fmt.Sprintf("%s @%d", want, t0+10*second) {
					t.Errorf("%s: %v %v", token, got, err)
				}
			})
		}
		all.Wait()
		for token, code := range map[string]connect.Code{"writer": connect.CodePermissionDenied, "x": connect.CodeUnauthenticated} {
			c, _ := v.queryAs(t, s, token)
			_, err := queryAll(t.Context(), c, &queryRequest{Expression: "m"})
			requireCode(t, code, err)
		}
	})
}

func queryAll(ctx context.Context, c queryv1connect.QueryServiceClient, req *queryRequest) (got []*queryResponse, err error) {
	stream, err := c.Query(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		got = append(got, stream.Msg())
	}
	return got, stream.Err()
}

// A server that does not know yet what is due waits until it does, and sends clients
// elsewhere if that takes long, also those that do not follow.
func TestQueryWhileSettling(t *testing.T) {
	src, _ := ticking(t)
	c := testConfig(t)
	c.Settle = time.Second
	req := &queryRequest{Expression: "m", Step: secs(10), Delay: millis(0)}
	srv := startFed(t, c, src)
	got := newResults(t).all(srv.query(t, req))
	require.Equal(t, []string{fmt.Sprintf("m 1 @%d", t0+10*second)}, got.lines)

	c.StoragePath, c.Settle, c.CursorWait = t.TempDir(), patience, 50*time.Millisecond
	srv = startFed(t, c, src)
	overAll(t, func(t *testing.T, p protocol) {
		for _, follow := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			req.Follow = follow
			_, err := p.openQuery(t, ctx, srv.RPCAddr().String(), req)()
			requireCode(t, connect.CodeUnavailable, err)
			require.ErrorContains(t, err, "go on at another replica")
			rules := testRulesRequest()
			rules.Follow, rules.Start = follow, nil
			_, err = p.openRules(t, ctx, srv.RPCAddr().String(), rules)()
			requireCode(t, connect.CodeUnavailable, err)
			require.ErrorContains(t, err, "go on at another replica")
		}
	})
}

// A server that does not know yet what is due shows that it is alive while it waits.
func TestHeartbeatsWhileSettling(t *testing.T) {
	src, _ := ticking(t)
	c := testConfig(t)
	c.Settle, c.CursorWait = patience, patience
	srv := startFed(t, c, src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		query := follow()
		query.HeartbeatInterval = millis(100)
		steps, err := p.openQuery(t, ctx, srv.RPCAddr().String(), query)()
		require.NoError(t, err)
		require.NotNil(t, steps.GetHeartbeat())
		rules := testRulesRequest()
		rules.Follow, rules.HeartbeatInterval = true, millis(100)
		ruling, err := p.openRules(t, ctx, srv.RPCAddr().String(), rules)()
		require.NoError(t, err)
		require.NotNil(t, ruling.GetHeartbeat())
	})
}
