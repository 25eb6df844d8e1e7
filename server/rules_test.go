package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1grpc"
)

type rulesRequest = queryv1.EvaluateRulesRequest
type rulesResponse = queryv1.EvaluateRulesResponse

// rulesReceiver is the client's end of an evaluation of rules; io.EOF is its end.
type rulesReceiver func() (*rulesResponse, error)

// openRules calls by a protocol.
func (p *protocol) openRules(t testing.TB, ctx context.Context, address string, req *rulesRequest) rulesReceiver {
	if p.options == nil {
		return receiveGRPC(t, address, func(conn *grpc.ClientConn) (grpc.ServerStreamingClient[rulesResponse], error) {
			return queryv1grpc.NewQueryServiceClient(conn).EvaluateRules(ctx, req)
		})
	}
	return receiveConnect(t, p.h2, func(client *http.Client) (*connect.ServerStreamForClient[rulesResponse], error) {
		return queryv1connect.NewQueryServiceClient(client, "http://"+address, p.options...).EvaluateRules(ctx, connect.NewRequest(req))
	})
}

// evaluate opens an evaluation of rules over gRPC that ends with the test.
func (s *instance) evaluate(t testing.TB, req *rulesRequest) rulesReceiver {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return protocols[0].openRules(t, ctx, s.RPCAddr().String(), req)
}

// rulings is what a client makes of it: a line for each value, change of an alert, and
// failure.
type rulings struct {
	t      testing.TB
	lines  []string
	cursor string
	last   *rulesResponse
	seen   struct{ synced, heartbeats, responses int }
}

func (r *rulings) add(m *rulesResponse) {
	r.last = m
	r.seen.responses++
	var lines []string
	for _, ts := range m.GetTimeseries() {
		for _, line := range tsLines(ts) {
			lines = append(lines, strings.Replace(line, "NaN @", "gone @", 1))
		}
	}
	for _, a := range m.GetAlerts() {
		lines = append(lines, alertLine(a))
	}
	for _, f := range m.GetFailures() {
		lines = append(lines, f.GetRule()+" failed: "+f.GetError())
	}
	for i := range lines {
		lines[i] = m.GetGroup() + ": " + lines[i]
	}
	r.lines = append(r.lines, lines...)
	require.Equal(r.t, m.GetCursor() == "", m.GetEvaluated() == nil)
	if m.GetCursor() != "" {
		r.cursor = m.GetCursor()
	}
	if m.GetSynced() != nil {
		r.seen.synced++
	}
	if m.GetHeartbeat() != nil {
		r.seen.heartbeats++
	}
}

func alertLine(a *queryv1.Alert) string {
	text := func(labels []*metricsv1.Label) string {
		var all []string
		for _, l := range labels {
			all = append(all, l.GetName()+"="+l.GetValue())
		}
		return strings.Join(all, ",")
	}
	short := func(s queryv1.Alert_State) string { return strings.ToLower(strings.TrimPrefix(s.String(), "STATE_")) }
	fired := "-"
	if a.GetFiredAt() != nil {
		fired = fmt.Sprint(a.GetFiredAt().AsTime().UnixMilli() - t0)
	}
	return fmt.Sprintf("%s %s>%s %g since %d fired %s %s %s", text(a.GetLabels()), short(a.GetPrevious()), short(a.GetState()), a.GetValue(),
		a.GetActiveAt().AsTime().UnixMilli()-t0, fired, text(a.GetAnnotations()), a.GetGeneratorUrl())
}

// all receives until the end.
func (r *rulings) all(recv rulesReceiver) *rulings {
	r.t.Helper()
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			require.NotNil(r.t, r.last.GetEnd(), "the last response carries end")
			return r
		}
		require.NoError(r.t, err)
		r.add(m)
	}
}

// step receives up to the next response with a cursor. It is false if that is the end.
func (r *rulings) step(recv rulesReceiver) bool {
	r.t.Helper()
	for {
		m, err := recv()
		require.NoError(r.t, err)
		r.add(m)
		if m.GetCursor() != "" {
			return m.GetEnd() == nil
		}
	}
}

func sinceRules(ms int64) *queryv1.EvaluateRulesRequest_Since {
	return &queryv1.EvaluateRulesRequest_Since{Since: timestamppb.New(time.UnixMilli(ms))}
}

func afterRules(cursor string) *queryv1.EvaluateRulesRequest_Cursor {
	return &queryv1.EvaluateRulesRequest_Cursor{Cursor: cursor}
}

const testRules = `
groups:
- name: load
  interval: 10s
  rules:
  - {record: "job:load:sum", expr: "sum by (job) (load)", labels: {tier: gold}}
  - {alert: High, expr: "job:load:sum > 5", for: 20s, keep_firing_for: 20s, labels: {severity: page},
     annotations: {summary: '{{ $labels.job }} has {{ $value }} of {{ with query "count(load)" }}{{ . | first | value }}{{ end }}'}}
- name: slow
  interval: 20s
  query_offset: 25s
  rules:
  - {alert: Any, expr: "load > 8", annotations: {at: "{{ $labels.instance }}"}}
  - {record: "bad", expr: "load{instance=\"a\"} + on (job) group_left () load"}
`

// loadSource writes two series whose loads go up, down and away.
func loadSource(t testing.TB) *source {
	src := newSourceAt(t, t0-second)
	a := []float64{1, 4, 6, 6, 6, 9, 9, 1, 1, 6, 1, 1, 1, 7, 7}
	for i, v := range a {
		at := t0 + int64(i)*10*second
		points := []point{{series: `load{instance="a",job="x"}`, t: at, v: v}, {series: `load{instance="c",job="y"}`, t: at, v: 1}}
		if i%3 != 0 {
			points = append(points, point{series: `load{instance="b",job="x"}`, t: at, v: 0.5})
		}
		if i == 8 {
			points[1].v = staleNaN
		}
		if i > 8 {
			points = append(points[:1], points[2:]...)
		}
		src.writeAt(at+100, points...)
		src.tickAt(at + 5*second)
	}
	src.tickAt(t0 + 200*second)
	return src
}

func testRulesRequest() *rulesRequest {
	return &rulesRequest{
		Rules: testRules, Delay: millis(2 * second), Start: sinceRules(t0), ExternalUrl: "http://x", ExternalLabels: map[string]string{"cluster": "c", "job": "none"},
	}
}

// A client that moves to another server at every response has what one has that stays,
// over each protocol.
func TestRulesMoved(t *testing.T) {
	src := loadSource(t)
	servers := []*instance{startFed(t, testConfig(t), src), startFed(t, testConfig(t), src)}
	undisturbed := (&rulings{t: t}).all(servers[0].evaluate(t, testRulesRequest()))
	require.NotEmpty(t, undisturbed.lines)
	overAll(t, func(t *testing.T, p protocol) {
		moved := &rulings{t: t}
		req := testRulesRequest()
		for i := 0; ; i++ {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			more := moved.step(p.openRules(t, ctx, servers[i%2].RPCAddr().String(), req))
			cancel()
			if !more {
				break
			}
			req.Start = afterRules(moved.cursor)
		}
		require.Equal(t, undisturbed.lines, moved.lines)
	})
}

// What the rules of testRules come to, over each protocol: as Prometheus has it.
func TestRules(t *testing.T) {
	srv := startFed(t, testConfig(t), loadSource(t))
	var want []string
	sum := func(job string, from int, values ...float64) {
		for i, v := range values {
			want = append(want, fmt.Sprintf(`load: job:load:sum{cluster="c",job="%s",tier="gold"} %g @%d`, job, v, t0+int64(from+i)*10*second))
		}
	}
	sum("x", 0, 1, 4.5, 6.5, 6.5, 6.5, 9.5, 9.5, 1.5, 1.5, 6.5, 1.5, 1.5, 1.5, 7.5, 7.5, 7.5, 7.5, 7.5, 7.5, 7.5)
	sum("y", 0, 1, 1, 1, 1, 1, 1, 1, 1)
	high := func(moves string, value float64, since int, fired string, series int) {
		want = append(want, fmt.Sprintf("load: alertname=High,cluster=c,job=x,severity=page,tier=gold %s %g since %d fired %s summary=x has %g of %d http://x/graph?g0.expr=job%%3Aload%%3Asum+%%3E+5&g0.tab=1",
			moves, value, since, fired, value, series))
	}
	high("inactive>pending", 6.5, 20000, "-", 3)
	high("pending>firing", 6.5, 20000, "40000", 3)
	high("firing>inactive", 6.5, 20000, "40000", 2) // of 90 s, kept for 20 s from 100 s on
	high("inactive>pending", 7.5, 130000, "-", 2)
	high("pending>firing", 7.5, 130000, "150000", 2)
	want = append(want,
		fmt.Sprintf(`load: job:load:sum{cluster="c",job="y",tier="gold"} gone @%d`, t0+80*second),
		fmt.Sprintf(`slow: bad{cluster="c",instance="a",job="x"} 2 @%d`, t0),
		"slow: alertname=Any,cluster=c,instance=a,job=x inactive>firing 9 since 60000 fired 60000 at=a http://x/graph?g0.expr=load+%3E+8&g0.tab=1",
		"slow: alertname=Any,cluster=c,instance=a,job=x firing>inactive 9 since 60000 fired 60000 at=a http://x/graph?g0.expr=load+%3E+8&g0.tab=1",
	)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		got := (&rulings{t: t}).all(p.openRules(t, ctx, srv.RPCAddr().String(), testRulesRequest()))
		failures := 0
		got.lines = slices.DeleteFunc(got.lines, func(line string) bool {
			failed := strings.HasPrefix(line, "slow: bad failed: found duplicate series")
			if failed {
				failures++
			}
			return failed
		})
		require.ElementsMatch(t, want, got.lines)
		require.Equal(t, 8, failures)
		// Without a start, it is the latest step of each group, at which nothing is kept.
		req := testRulesRequest()
		req.Start = nil
		latest := (&rulings{t: t}).all(p.openRules(t, ctx, srv.RPCAddr().String(), req))
		require.Len(t, latest.lines, 3)
		require.Contains(t, latest.lines[2], "inactive>pending 7.5 since 190000")
	})
}

// A stream that follows tells each step when it is due, shows that it is alive, and ends
// with a cursor when its server does.
func TestRulesFollow(t *testing.T) {
	overAll(t, func(t *testing.T, p protocol) {
		src := newSourceAt(t, t0)
		write := func(ms int64, v float64) {
			src.writeAt(ms, point{series: "m", t: ms, v: v})
			src.tickAt(ms + 500)
		}
		write(t0, 1)
		servers := []*instance{startFed(t, testConfig(t), src), startFed(t, testConfig(t), src)}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req := &rulesRequest{
			Rules: "groups: [{name: g, interval: 1s, rules: [{alert: A, expr: m > 1, for: 1s}]}]", Delay: millis(500), Start: sinceRules(t0), Follow: true,
			HeartbeatInterval: millis(100),
		}
		got := &rulings{t: t}
		recv := p.openRules(t, ctx, servers[0].RPCAddr().String(), req)
		for got.seen.synced == 0 || got.seen.heartbeats == 0 {
			got.step(recv)
		}
		write(t0+second, 2)
		for len(got.lines) == 0 {
			got.step(recv)
		}
		shut := make(chan struct{})
		go func() {
			defer close(shut)
			servers[0].stop()
		}()
		err := got.untilError(recv)
		requireCode(t, connect.CodeUnavailable, err)
		<-shut
		req.Start = afterRules(got.cursor)
		req.Active = true
		recv = p.openRules(t, ctx, servers[1].RPCAddr().String(), req)
		for len(got.lines) < 2 {
			got.step(recv)
		}
		write(t0+2*second, 3)
		for len(got.lines) < 3 {
			got.step(recv)
		}
		require.Contains(t, got.lines[0], "inactive>pending 2 since 1000")
		require.Contains(t, got.lines[1], "pending>pending 2 since 1000")
		require.Contains(t, got.lines[2], "pending>firing 3 since 1000 fired 2000")
	})
}

// untilError receives until an error.
func (r *rulings) untilError(recv rulesReceiver) error {
	for {
		m, err := recv()
		if err != nil {
			return err
		}
		r.add(m)
	}
}

// A cursor of other rules, or of another call, is refused.
func TestRulesCursorRefused(t *testing.T) {
	src := loadSource(t)
	srv := startFed(t, testConfig(t), src)
	got := (&rulings{t: t}).all(srv.evaluate(t, testRulesRequest()))
	for want, change := range map[string]func(*rulesRequest){
		"it is of other rules": func(r *rulesRequest) { r.Rules += "\n" },
		"another interval":     func(r *rulesRequest) { r.Interval = secs(7) },
		"cut off or damaged":   func(r *rulesRequest) { r.Start = afterRules(got.cursor[:len(got.cursor)/8*4]) },
	} {
		req := testRulesRequest()
		req.Start = afterRules(got.cursor)
		change(req)
		_, err := srv.evaluate(t, req)()
		requireCode(t, connect.CodeInvalidArgument, err)
		require.ErrorContains(t, err, want)
	}
	ofQuery := newResults(t).all(srv.query(t, &queryRequest{Expression: "load", Start: sinceQuery(t0)})).cursor
	req := testRulesRequest()
	req.Start = afterRules(ofQuery)
	_, err := srv.evaluate(t, req)()
	requireCode(t, connect.CodeInvalidArgument, err)
}

// What is wrong in a file is told with its place, and what is over a limit by its name.
func TestRulesRefused(t *testing.T) {
	src := loadSource(t)
	c := testConfig(t)
	c.Rules.Rules, c.Rules.Alerts = 2, 1
	srv := startFed(t, c, src)
	of := func(rules string) error {
		return (&rulings{t: t}).untilError(srv.evaluate(t, &rulesRequest{Rules: rules, Start: sinceRules(t0), Delay: millis(0)}))
	}
	err := of("groups: [{name: g, rules: [{alert: A, expr: 'sum('}]}]")
	requireCode(t, connect.CodeInvalidArgument, err)
	require.ErrorContains(t, err, `group "g", rule 1, "A"`)
	err = of("groups: [{name: g, rules: [{record: a, expr: b}, {record: c, expr: d}, {record: e, expr: f}]}]")
	requireCode(t, connect.CodeResourceExhausted, err)
	require.ErrorContains(t, err, "--limit.rules")
	// Two alerts where there may be one: the rule has failed, or the file, but none is lost
	// silently.
	got := (&rulings{t: t}).all(srv.evaluate(t, &rulesRequest{
		Rules: "groups: [{name: g, interval: 10s, rules: [{alert: A, expr: load}]}]", Start: sinceRules(t0), End: timestamppb.New(time.UnixMilli(t0)), Delay: secs(2),
	}))
	require.Len(t, got.lines, 1)
	require.Contains(t, got.lines[0], "--limit.rule-alerts")
	err = of("groups: [{name: g, interval: 10s, rules: [{alert: A, expr: 'load{job=\"x\"} < 3'}, {alert: B, expr: 'load{job=\"y\"}'}]}]")
	requireCode(t, connect.CodeResourceExhausted, err)
	require.ErrorContains(t, err, "--limit.rule-alerts")
	require.NotZero(t, srv.metricOf(t, "promgrpc_server_over_limit_total", "rule-alerts"))
}

// A caller's rules see its own series only, and what it gets, byte by byte, is what it
// would get if there were no others.
func TestRulesTellNothingOfOthers(t *testing.T) {
	rules := `
groups:
- name: g
  interval: 10s
  rules:
  - {record: seen, expr: 'count({__name__="m"}) or vector(0)'}
  - {alert: Few, expr: 'seen < 9', labels: {all: '{{ with query "count(m)" }}{{ . | first | value }}{{ end }}'}, annotations: {a: '{{ query "m" | first | label "team" }}'}}
  - {alert: Bad, expr: 'm + on () m'}
`
	var servers [2]*instance
	for among := range servers {
		src := newSourceAt(t, t0)
		points := []point{{series: `m{team="a"}`, t: t0, v: 1}, {series: `m{n="2",team="a"}`, t: t0, v: 1}}
		if among == 1 {
			points = append(points, point{series: `m{team="b"}`, t: t0, v: 2}, point{series: `m{hidden="x"}`, t: t0, v: 3})
		}
		src.writeAt(t0, points...)
		src.tickAt(t0 + 30*second)
		servers[among] = startFed(t, restricted(t, twoTeams), src)
	}
	overWays(t, func(t *testing.T, v way) {
		var got [2][]string
		for among, srv := range servers {
			c, _ := v.queryAs(t, srv, "a")
			stream, err := c.EvaluateRules(t.Context(), connect.NewRequest(&rulesRequest{Rules: rules, Start: sinceRules(t0), Delay: millis(500)}))
			require.NoError(t, err)
			for stream.Receive() {
				wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(stream.Msg())
				require.NoError(t, err)
				got[among] = append(got[among], string(wire))
			}
			require.NoError(t, stream.Err())
			require.NoError(t, stream.Close())
		}
		require.Equal(t, got[0], got[1])
		require.Greater(t, len(got[0]), 1)
		c, _ := v.queryAs(t, servers[0], "writer")
		stream, err := c.EvaluateRules(t.Context(), connect.NewRequest(&rulesRequest{Rules: rules}))
		if err == nil {
			stream.Receive()
			err = stream.Err()
			require.NoError(t, stream.Close())
		}
		requireCode(t, connect.CodePermissionDenied, err)
	})
}

// A stream that is of age ends with the cursor at which another server, here a relay, goes
// on, with no change told twice.
func TestRulesOfAge(t *testing.T) {
	src, _ := ticking(t)
	c := testConfig(t)
	c.MaxAge = time.Second
	srv := startFed(t, c, src)
	relay := startRelay(t, testConfig(t), srv)
	relay.await(t, src)
	overAll(t, func(t *testing.T, p protocol) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req := &rulesRequest{
			Rules: "groups: [{name: g, interval: 10s, rules: [{alert: A, expr: m > 0}]}]", Delay: millis(0), Start: sinceRules(t0), Follow: true,
		}
		got := &rulings{t: t}
		err := got.untilError(p.openRules(t, ctx, srv.RPCAddr().String(), req))
		requireCode(t, connect.CodeUnavailable, err)
		told := detail[*metricsv1.StreamInterrupted](t, err)
		require.Equal(t, metricsv1.StreamInterrupted_REASON_MAX_AGE, told.GetReason())
		require.Equal(t, got.cursor, told.GetCursor())
		require.Len(t, got.lines, 1)
		req.Start, req.Follow = afterRules(told.GetCursor()), false
		require.Empty(t, (&rulings{t: t}).all(p.openRules(t, ctx, relay.RPCAddr().String(), req)).lines)
		req.Start = sinceRules(t0)
		require.Equal(t, got.lines, (&rulings{t: t}).all(p.openRules(t, ctx, relay.RPCAddr().String(), req)).lines)
	})
}
