package server_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/internal/broadcast"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/daemon"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/throttle"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/catalog"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/query"
	"github.com/promgrpc/exporter/server/refusal"
	routed "github.com/promgrpc/exporter/server/router/remote"
	"github.com/promgrpc/exporter/server/rpc"
	"github.com/promgrpc/exporter/server/rule"
	"github.com/promgrpc/exporter/server/schedule"
	"github.com/promgrpc/exporter/server/selection"
	"github.com/promgrpc/exporter/server/stored"
	"github.com/promgrpc/exporter/server/stream"
)

// group is a group of servers, which are asked in turn.
type group struct {
	name string
	of   *groups

	mu      sync.Mutex
	servers []string // addresses; none: it is away
	turn    int
}

// groups are all groups of a test.
type groups struct {
	t       testing.TB
	list    []*group
	changed broadcast.Signal
	client  *http.Client
	// pushed evaluate parts of expressions for routers; nil: nobody does.
	pushed promql.Groups
	// silentAfter is for how long a group's time stands still before that is told.
	silentAfter time.Duration
}

func newGroups(t testing.TB, names ...string) *groups {
	client, stop := httpClient(true)
	t.Cleanup(stop)
	all := &groups{t: t, client: client, silentAfter: patience}
	for _, name := range names {
		all.list = append(all.list, &group{name: name, of: all})
	}
	return all
}

// Groups implements [routed.Groups].
func (g *groups) Groups() (list []routed.Group, changed <-chan struct{}) {
	changed = g.changed.Next()
	for _, one := range g.list {
		list = append(list, one)
	}
	return list, changed
}

// serve has a group be served by some servers.
func (g *groups) serve(i int, servers ...*instance) {
	one := g.list[i]
	one.mu.Lock()
	one.servers = nil
	for _, s := range servers {
		one.servers = append(one.servers, s.RPCAddr().String())
	}
	one.mu.Unlock()
	g.changed.Wake()
}

func (g *group) Name() string { return g.name }

func (g *group) Away() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.servers) == 0
}

// Open implements [routed.Group].
func (g *group) Open(ctx context.Context, procedure string, request proto.Message) (routed.Stream, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.servers) == 0 {
		return nil, connect.NewError(connect.CodeUnavailable, fmt.Errorf("group %s is away", g.name))
	}
	g.turn++
	url := "http://" + g.servers[g.turn%len(g.servers)] + procedure
	switch r := request.(type) {
	case *queryv1.ReadSeriesRequest:
		return openStream[queryv1.ReadSeriesRequest, queryv1.ReadSeriesResponse](ctx, g.of.client, url, r)
	case *queryv1.QueryRequest:
		return openStream[queryv1.QueryRequest, queryv1.QueryResponse](ctx, g.of.client, url, r)
	case *queryv1.FollowTimeRequest:
		return openStream[queryv1.FollowTimeRequest, queryv1.FollowTimeResponse](ctx, g.of.client, url, r)
	}
	return nil, connect.NewError(connect.CodeUnimplemented, fmt.Errorf("%s", procedure))
}

// opened is a stream of Connect's client as bytes.
type opened[Res any] struct {
	*connect.ServerStreamForClient[Res]
	cancel context.CancelFunc
}

func openStream[Req, Res any](ctx context.Context, client *http.Client, url string, r *Req) (routed.Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	s, err := connect.NewClient[Req, Res](client, url, connect.WithGRPC()).CallServerStream(ctx, connect.NewRequest(r))
	if err != nil {
		cancel()
		return nil, err
	}
	return opened[Res]{s, cancel}, nil
}

// received is how many bytes came from groups.
var received atomic.Int64

func (s opened[Res]) Receive([]byte) ([]byte, error) {
	switch {
	case s.ServerStreamForClient.Receive():
		wire, err := proto.Marshal(any(s.Msg()).(proto.Message))
		received.Add(int64(len(wire)))
		return wire, err
	case s.Err() != nil:
		return nil, s.Err()
	}
	return nil, io.EOF
}

func (s opened[Res]) Close() {
	s.cancel()
	_ = s.ServerStreamForClient.Close()
}

// router serves the calls of the QueryService and Prometheus' API for all groups, and
// returns where.
func (g *groups) router(timeout time.Duration) (address string) {
	t := g.t
	budget := func(name string) *limit.Budget { return limit.NewBudget("--limit."+name, "units", 1<<30, 1<<30) }
	evaluations := selection.NewEvaluations(selection.DefaultLimits(), budget("evaluation-bytes"))
	refusals, logger := refusal.New(), slog.New(slog.DiscardHandler)
	bounds := call.DefaultBounds()
	bounds.MaxAge = 0
	calls := call.New(bounds, call.Shared{
		Refusals: refusals, Log: throttle.New(logger, time.Second), Open: budget("streams"), Bytes: budget("stream-bytes"), Begun: func() error { return nil },
	})
	source := &routed.Source{Groups: g, Evaluations: evaluations, Timeout: timeout}
	now := routed.NewTime(g, g.silentAfter)
	engine := promql.New(promql.DefaultConfig(), promql.Shared{
		Source: source, Evaluations: evaluations, Groups: g.pushed, Logger: logger, Bytes: budget("query-bytes"), Turns: budget("queries"),
	})
	clock := schedule.NewClock(now)
	queries := query.New(query.Config{Lookback: 5 * time.Minute, CursorWait: patience}, query.Shared{Engine: engine, Clock: clock, Calls: calls})
	rules := rule.New(rule.DefaultLimits(), rule.Shared{Engine: engine, Clock: clock, Calls: calls, CursorWait: patience})
	service := rpc.New(rpc.Config{RequestTimeout: patience, StallTimeout: patience, MinRate: 1 << 14, RequestBytes: 1 << 20, ConnStreams: 100, CallRate: 1000}, rpc.Shared{
		Backend: struct {
			*stream.Streams
			*query.Queries
			*rule.Rules
			*stored.Calls
			*catalog.Catalog
		}{nil, queries, rules, &stored.Calls{Engine: engine, Source: source, Clock: clock, CursorWait: patience, Calls: calls}, nil},
		Calls: calls, Refusals: refusals, Engine: engine, Log: throttle.New(logger, time.Second), Bytes: budget("call-bytes"), Conns: budget("conns"),
		Started: time.Now(), Ready: calls.Serving, Listeners: func() []daemon.Listener { return nil },
	})
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() { now.Run(ctx) })
	wait.Go(func() { _ = service.Serve(listener) })
	t.Cleanup(func() {
		calls.Drain()
		cancel()
		require.NoError(t, service.Close())
		wait.Wait()
	})
	return listener.Addr().String()
}

// groupsStory is what two groups of series are written: a series belongs to one of them, but
// for those that move from the first to the second at an instant.
type groupsStory struct {
	*story
	instant int64
}

func newGroupsStory(t *testing.T, seed uint64) *groupsStory {
	return &groupsStory{newStory(t, seed), t0 + 70*second}
}

// goOn writes until a time.
func (s *groupsStory) goOn(until int64) {
	for s.now < until {
		s.now += 1 + s.random.Int64N(2*second)
		var points [2][]point
		for range s.random.IntN(6) {
			n := s.random.IntN(9)
			s.counter += s.random.Float64()
			at := s.now - s.random.Int64N(2*second)
			if s.random.IntN(4) == 0 {
				at = s.now - s.random.Int64N(40*second) // late
			}
			p := point{series: fmt.Sprintf(`m{a="%d",b="%d"}`, n, (7*n+2)%4), t: at, v: s.counter}
			if s.random.IntN(10) == 0 {
				p.v = staleNaN
			}
			of := n % 3 % 2
			if n%3 == 2 && at >= s.instant {
				of = 1
			}
			points[of] = append(points[of], p)
		}
		for i, src := range s.sources {
			src.writeAt(s.now, points[i]...)
		}
	}
}

// groupExpressions are of all kinds of results that depend on the order of series, on when
// samples came, and on series of several groups at once.
var groupExpressions = slices.Concat(expressions, []string{
	"sum by (b) (rate(m[40s]))", "avg without (a) (m)", "max by (b) (increase(m[30s]))", "m offset 7s", "resets(m[1m])", "changes(m[40s])",
	"max_over_time(sum(m)[30s:5s])", "rate(m[20s:3s])", "absent(m{a=\"1\"})", "bottomk by (b) (1, m)", "count_values(\"v\", m > 2)",
	"sum by (b) (m) > on (b) max by (b) (m offset 5s)", "m + on (b) group_left max by (b) (m)", "quantile(0.5, m)", "m unless m > 3", "timestamp(m)",
	"sort_desc(m)", "predict_linear(m[40s], 10)", "1", "time()", "sum(0.1 * m)", "avg(avg by (b) (m))", "m @ end()",
})

// A router's steps are those of one server that has the series of all groups, bit by bit:
// live, later, and where a client goes on at another router; late samples, stale markers and
// series that move from one group to another at an instant included.
func TestGroupsAreAsOneServer(t *testing.T) {
	s := newGroupsStory(t, 3)
	all := newGroups(t, "a", "b")
	whole := startFed(t, testConfig(t), s.sources...)
	for i, src := range s.sources {
		all.serve(i, startFed(t, testConfig(t), src), startFed(t, testConfig(t), src))
	}
	first, other := all.router(patience), all.router(patience)
	request := func(expression string) *queryRequest {
		return &queryRequest{Expression: expression, Step: secs(5), Delay: secs(7), Start: sinceQuery(t0)}
	}
	s.goOn(t0 + 60*second)
	live := make([]*results, len(groupExpressions))
	recv := make([]queryReceiver, len(groupExpressions))
	cursors := make([]string, len(groupExpressions))
	for i, x := range groupExpressions {
		req := request(x)
		req.Follow, req.HeartbeatInterval, req.LabelReferences = true, durationpb.New(100*time.Millisecond), true
		live[i], recv[i] = newResults(t), queryAt(t, first, req)
	}
	for _, end := range []int64{90, 130} {
		s.goOn(t0 + end*second)
		last := (s.now - 7*second) / (5 * second) * 5 * second
		for i := range groupExpressions {
			live[i].until(recv[i], upTo(last))
			if end == 90 {
				cursors[i] = live[i].cursor
			}
		}
	}
	for i, x := range groupExpressions {
		want := newResults(t).all(whole.query(t, request(x)))
		said := byStep(t, want)
		require.NotEmpty(t, said, x)
		withLabels := request(x)
		withLabels.LabelReferences = true
		require.Equal(t, byStep(t, newResults(t).all(whole.query(t, withLabels))), byStep(t, live[i]), x)
		require.Equal(t, want.late, live[i].late, x)
		again := newResults(t).all(queryAt(t, other, request(x)))
		require.Equal(t, said, byStep(t, again), x)
		require.Equal(t, want.late, again.late, x)
		require.Equal(t, want.annotations, again.annotations, x)

		resumed := request(x)
		resumed.Start = afterQuery(cursors[i])
		rest := byStep(t, newResults(t).all(queryAt(t, other, resumed)))
		at := cursorTime(t, cursors[i])
		for ms, text := range said {
			if ms > at && rest[ms] != "" {
				require.Equal(t, text, rest[ms], "%s at %d", x, ms)
			}
		}
	}
}

func queryAt(t *testing.T, address string, req *queryRequest) queryReceiver {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return protocols[0].openQuery(t, ctx, address, req)
}

func cursorTime(t *testing.T, token string) int64 {
	t.Helper()
	c, err := cursor.ParseQuery(token)
	require.NoError(t, err)
	return c.Evaluated
}

// awayOf returns the groups that events of a stream name, in order.
func awayOf(r *results) (all []string) {
	for _, m := range r.messages {
		if m.GetAway() != nil {
			all = append(all, strings.Join(m.GetAway().GetGroups(), ","))
		}
	}
	return all
}

// While a group is away a query stands still and says so, or ends, as its caller chooses.
// Once the group is back each step comes, as one server has it.
func TestQueryWhileAGroupIsAway(t *testing.T) {
	s := newGroupsStory(t, 5)
	all := newGroups(t, "a", "b")
	whole := startFed(t, testConfig(t), s.sources...)
	all.serve(0, startFed(t, testConfig(t), s.sources[0]))
	router := all.router(300 * time.Millisecond)
	s.goOn(t0 + 60*second)

	refused := func() {
		t.Helper()
		_, err := queryAt(t, router, &queryRequest{Expression: "sum(m)", Follow: true, WhenAway: metricsv1.WhenAway_WHEN_AWAY_REFUSE})()
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.ErrorContains(t, err, "group b")
	}
	require.Eventually(t, func() bool { // until the router knows of its groups
		_, err := queryAt(t, router, &queryRequest{Expression: "sum(m)", WhenAway: metricsv1.WhenAway_WHEN_AWAY_REFUSE})()
		return status.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "group b")
	}, patience, time.Millisecond)
	refused()
	got := newResults(t)
	recv := queryAt(t, router, &queryRequest{
		Expression: "sum by (b) (m)", Step: secs(5), Delay: secs(7), Start: sinceQuery(t0), Follow: true, HeartbeatInterval: durationpb.New(100 * time.Millisecond),
	})
	got.until(recv, func(m *queryResponse) bool { return m.GetAway() != nil })
	got.until(recv, func(m *queryResponse) bool { return m.GetHeartbeat() != nil })
	require.Empty(t, got.lines)

	second := startFed(t, testConfig(t), s.sources[1])
	all.serve(1, second)
	last := (s.now - 7000) / 5000 * 5000
	got.until(recv, upTo(last))
	require.Equal(t, []string{"b", ""}, awayOf(got))

	all.serve(1)
	second.stop()
	got.until(recv, func(m *queryResponse) bool { return m.GetAway() != nil })
	s.goOn(t0 + 100_000)
	refused()
	all.serve(1, startFed(t, testConfig(t), s.sources[1]))
	last = (s.now - 7000) / 5000 * 5000
	got.until(recv, upTo(last))
	require.Equal(t, []string{"b", "", "b", ""}, awayOf(got))
	want := newResults(t).all(whole.query(t, &queryRequest{Expression: "sum by (b) (m)", Step: secs(5), Delay: secs(7), Start: sinceQuery(t0)}))
	require.Equal(t, byStep(t, want), byStep(t, got))
}

// So it is while nothing comes of a group's logs, though its servers answer: the steps that
// the group has come to are there, and the next ones once it goes on.
func TestQueryWhileAGroupIsSilent(t *testing.T) {
	s := newGroupsStory(t, 7)
	all := newGroups(t, "a", "b")
	whole := startFed(t, testConfig(t), s.sources...)
	all.silentAfter = 3 * time.Second
	first, later := start(t, testConfig(t)), start(t, testConfig(t))
	s.sources[0].feed(first.Server)
	stop := s.sources[1].feed(later.Server)
	all.serve(0, first)
	all.serve(1, later)
	router := all.router(patience)
	s.goOn(t0 + 60*second)
	last := (s.now - 7000) / 5000 * 5000
	req := func(when metricsv1.WhenAway) *queryRequest {
		return &queryRequest{
			Expression: "sum by (b) (m)", Step: secs(5), Delay: secs(7), Start: sinceQuery(t0), Follow: true,
			HeartbeatInterval: durationpb.New(100 * time.Millisecond), WhenAway: when,
		}
	}
	got := newResults(t)
	recv := queryAt(t, router, req(metricsv1.WhenAway_WHEN_AWAY_WAIT))
	got.until(recv, upTo(last))
	stop()
	got.until(recv, func(m *queryResponse) bool { return slices.Contains(m.GetAway().GetGroups(), "b") })
	require.Equal(t, last, cursorTime(t, got.cursor))

	refused := queryAt(t, router, req(metricsv1.WhenAway_WHEN_AWAY_REFUSE))
	come := newResults(t)
	come.until(refused, upTo(last))
	require.Equal(t, byStep(t, got), byStep(t, come))
	var err error
	for err == nil {
		_, err = refused()
	}
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Regexp(t, `time stands still in group .*\bb\b`, err.Error())

	s.sources[1].feed(later.Server)
	s.goOn(t0 + 100*second)
	last = (s.now - 7000) / 5000 * 5000
	got.until(recv, upTo(last))
	if told := awayOf(got); told[len(told)-1] != "" {
		got.until(recv, func(m *queryResponse) bool { return m.GetAway() != nil && len(m.GetAway().GetGroups()) == 0 })
	}
	want := newResults(t).all(whole.query(t, &queryRequest{Expression: "sum by (b) (m)", Step: secs(5), Delay: secs(7), Start: sinceQuery(t0)}))
	require.Equal(t, byStep(t, want), byStep(t, got))
}

// So it is with rules.
func TestRulesWhileAGroupIsAway(t *testing.T) {
	s := newGroupsStory(t, 6)
	all := newGroups(t, "a", "b")
	all.serve(1, startFed(t, testConfig(t), s.sources[1]))
	router := all.router(300 * time.Millisecond)
	s.goOn(t0 + 60*second)
	client, stop := httpClient(true)
	t.Cleanup(stop)
	ask := func(when metricsv1.WhenAway) *connect.ServerStreamForClient[queryv1.EvaluateRulesResponse] {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		t.Cleanup(cancel)
		stream, err := queryv1connect.NewQueryServiceClient(client, "http://"+router).EvaluateRules(ctx, connect.NewRequest(&queryv1.EvaluateRulesRequest{
			Rules: "groups: [{name: g, interval: 5s, rules: [{record: r, expr: sum(m)}]}]", Follow: true, WhenAway: when,
			Start: &queryv1.EvaluateRulesRequest_Since{Since: timestamppb.New(time.UnixMilli(t0))},
		}))
		require.NoError(t, err)
		t.Cleanup(func() { _ = stream.Close() })
		return stream
	}
	require.Eventually(t, func() bool {
		refused := ask(metricsv1.WhenAway_WHEN_AWAY_REFUSE)
		require.False(t, refused.Receive())
		return connect.CodeOf(refused.Err()) == connect.CodeUnavailable && strings.Contains(refused.Err().Error(), "group a")
	}, patience, 10*time.Millisecond)
	waiting := ask(metricsv1.WhenAway_WHEN_AWAY_WAIT)
	for waiting.Receive() && waiting.Msg().GetAway() == nil {
		require.Empty(t, waiting.Msg().GetTimeseries())
	}
	require.Equal(t, []string{"a"}, waiting.Msg().GetAway().GetGroups())
	all.serve(0, startFed(t, testConfig(t), s.sources[0]))
	back, steps := false, 0
	for steps < 5 && waiting.Receive() {
		back = back || waiting.Msg().GetAway() != nil && len(waiting.Msg().GetAway().GetGroups()) == 0
		steps += len(waiting.Msg().GetTimeseries())
	}
	require.NoError(t, waiting.Err())
	require.True(t, back)
}

// Prometheus' API answers for all groups, and says which does not.
func TestPrometheusAPIOfGroups(t *testing.T) {
	first, other := newSourceAt(t, t0), newSourceAt(t, t0)
	data, err := proto.Marshal(&metricsv1.Exemplar{Labels: []*metricsv1.Label{{Name: "trace", Value: "x"}}, Value: 7, Timestamp: t0})
	require.NoError(t, err)
	first.writeAt(t0, point{series: `m{i="1"}`, t: t0, v: 1}, point{series: `m{i="1"}`, exemplar: data})
	other.writeAt(t0, point{series: `m{i="2"}`, t: t0, v: 2}, point{series: `m{i="2"}`, exemplar: data}, point{series: "n", t: t0, v: 3})
	all := newGroups(t, "a", "b")
	for i, src := range []*source{first, other} {
		all.serve(i, startFed(t, testConfig(t), src))
	}
	whole := startFed(t, testConfig(t), first, other)
	router := all.router(100 * time.Millisecond)
	get := func(address, path string) (int, string) {
		client, stop := httpClient(false)
		defer stop()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/api/v1/"+path, nil)
		require.NoError(t, err)
		response, err := client.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(text)
	}
	at := fmt.Sprint(t0 / 1000)
	paths := []string{
		"query?query=sum(m)&time=" + at, "query?query=m&time=" + at, "query_range?query=m&step=1&start=" + at + "&end=" + fmt.Sprint(t0/1000+5),
		"series?match[]=m&match[]=n&start=" + at + "&end=" + at, "labels?start=" + at + "&end=" + at, "label/i/values?start=" + at + "&end=" + at,
		"query_exemplars?query=m&start=" + at + "&end=" + at, "query?query=m[&time=" + at,
	}
	for _, path := range paths {
		code, want := get(whole.RPCAddr().String(), path)
		routed, got := get(router, path)
		require.Equal(t, code, routed, path)
		require.Equal(t, want, got, path)
	}
	all.serve(1)
	code, text := get(router, paths[0])
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, text, "group b")
}
