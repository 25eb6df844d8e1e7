package server_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/router/pushed"
	routed "github.com/promgrpc/exporter/server/router/remote"
	"github.com/promgrpc/exporter/server/selection"
)

// sharded is two groups of servers, each with a share of the series, and a server that has
// all of them.
type sharded struct {
	sources []*source
	groups  *groups
	servers [][]*instance
	all     *instance
	pushed  *pushed.Groups
	router  *promql.Engine
	whole   *promql.Engine
}

// newSharded starts as many servers in each group as it says.
func newSharded(t testing.TB, c func() *placement.Placement, servers int) *sharded {
	t.Helper()
	return shardedSince(t, c, servers, t0, t0)
}

// shardedSince is one whose groups have logs that begin at some times.
func shardedSince(t testing.TB, c func() *placement.Placement, servers int, began ...int64) *sharded {
	t.Helper()
	s := &sharded{groups: newGroups(t, "group0", "group1")}
	for i, ms := range began {
		src := newSourceAt(t, ms)
		s.sources = append(s.sources, src)
		src.tickAt(ms)
		var of []*instance
		for range servers {
			of = append(of, startFed(t, testConfig(t), src))
		}
		s.servers = append(s.servers, of)
		s.groups.serve(i, of...)
	}
	s.all = startFed(t, testConfig(t), s.sources...)
	s.pushed = pushed.New(pushed.Config{Groups: s.groups, Placement: c})
	s.router, s.whole = s.all.Router(s.pushed), s.all.Router(nil)
	return s
}

// byInstance is a placement that never changed.
func byInstance(t testing.TB) func() *placement.Placement {
	t.Helper()
	p, err := placement.New(1, placement.ByLabels, []string{"i"}, []placement.Epoch{{From: placement.Ever, Groups: []string{"group0", "group1"}}})
	require.NoError(t, err)
	return func() *placement.Placement { return p }
}

// write writes to each group's log a block of a time, with samples of its own series.
func (s *sharded) write(t testing.TB, r *rand.Rand, at int64) {
	t.Helper()
	for g, src := range s.sources {
		var points []point
		for i := g; i < 12; i += len(s.sources) {
			if r.IntN(5) == 0 {
				continue
			}
			when := at - int64(r.IntN(900))
			if r.IntN(6) == 0 {
				when -= int64(r.IntN(8 * second)) // late
			}
			points = append(points, point{series: fmt.Sprintf(`m_total{i="%d",job="%d"}`, i, i%3), t: when, v: float64((at - t0) / second * int64(i+1))})
			if i%4 == 0 {
				points = append(points, point{series: fmt.Sprintf(`h{i="%d",job="%d"}`, i, i%3), t: when, histogram: sizedHistogram(t, 3, when, i)})
			}
		}
		src.writeAt(at, points...)
	}
}

var pushedViewer = selection.Viewer{Peer: "peer"}

// lines is what an expression comes to, in words.
func (s *sharded) lines(t testing.TB, e *promql.Engine, x *promql.Expression, result *promql.Result, err error) []string {
	t.Helper()
	if err != nil {
		return []string{err.Error()}
	}
	var all []string
	switch v := result.Value.(type) {
	case promql.Vector:
		for _, sample := range v {
			all = append(all, sample.String())
		}
	case promql.Matrix:
		for _, series := range v {
			all = append(all, series.String())
		}
	}
	for _, m := range promql.AnnotationMessages(result.Annotations, x.Text()) {
		all = append(all, m.GetText())
	}
	return append(all, fmt.Sprint("late ", result.Late))
}

// pushedTexts are evaluated the same by groups and by one server.
var pushedTexts = []string{
	"sum by (job) (m_total)", "count by (job) (rate(m_total[10s]))", "m_total > 30", "max without (i) (increase(m_total[20s]))", "avg by (job) (m_total)",
	"topk(2, m_total)", "sum(m_total) / count(m_total)", "sum by (job) (h)", "histogram_count(h) + on (i, job) m_total", "h", "rate(h[20s])", "absent(m_total)", "absent(nothing)",
	"sum(label_replace(m_total, \"i\", \"1\", \"i\", \".*\"))", "scalar(sum(m_total)) + vector(1)", "max_over_time(sum(m_total)[10s:1s])",
}

// A group that was added has nothing of before: steps that were due by then come all the
// same, whether or not the range goes on beyond its beginning.
func TestPushedBeforeAGroupBegan(t *testing.T) {
	began := t0 + 60*second
	p, err := placement.New(2, placement.ByLabels, []string{"i"}, []placement.Epoch{
		{From: placement.Ever, Groups: []string{"group0"}}, {From: began + 10*second, Groups: []string{"group0", "group1"}},
	})
	require.NoError(t, err)
	s := shardedSince(t, func() *placement.Placement { return p }, 1, t0, began)
	for ms := t0 + second; ms <= t0+120*second; ms += second {
		of := s.sources[0]
		if ms >= began+10*second {
			s.sources[0].tickAt(ms)
			of = s.sources[1]
		}
		of.writeAt(ms, point{series: `m{i="1"}`, t: ms, v: float64(ms - t0)})
	}
	s.all.await(t, s.sources...)
	delay, step := 2*time.Second, int64(second)
	o := promql.Options{Viewer: pushedViewer, Delay: &delay, Lookback: 5 * time.Second, Late: step}
	x, err := s.router.Parse(t.Context(), pushedViewer, "sum(m)")
	require.NoError(t, err)
	for _, end := range []int64{20, 59, 75, 110} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		want, err := s.whole.Evaluate(ctx, x, t0+10*second, t0+end*second, step, o)
		wanted := s.lines(t, s.whole, x, want, err)
		got, err := s.router.Evaluate(ctx, x, t0+10*second, t0+end*second, step, o)
		cancel()
		require.Equal(t, wanted, s.lines(t, s.router, x, got, err), "up to %d s", end)
	}
}

// What groups evaluate by calls of Query comes to what one server comes to that has all
// series, step after step as they become due, and as a range.
func TestPushed(t *testing.T) {
	s := newSharded(t, byInstance(t), 1)
	r := rand.New(rand.NewPCG(1, 17))
	delay, step := 3*time.Second, int64(2*second)
	o := promql.Options{Viewer: pushedViewer, Delay: &delay, Lookback: 20 * time.Second, Late: step}
	parsed, followers := make([]*promql.Expression, len(pushedTexts)), make([]*promql.Follower, len(pushedTexts))
	for i, text := range pushedTexts {
		x, err := s.router.Parse(t.Context(), pushedViewer, text)
		require.NoError(t, err)
		parsed[i] = x.Canonical()
		followers[i] = s.router.Follow(parsed[i], o)
	}
	start, end := t0+10*second, t0+60*second
	at := t0
	for due := start; due <= end; due += step {
		for at < due+delay.Milliseconds() {
			at += second
			s.write(t, r, at)
		}
		s.all.await(t, s.sources...)
		for i, x := range parsed {
			want, err := s.whole.Evaluate(t.Context(), x, due, due, 0, o)
			wanted := s.lines(t, s.whole, x, want, err)
			got, err := followers[i].Evaluate(t.Context(), pushedViewer, due)
			require.Equal(t, wanted, s.lines(t, s.router, x, got, err), "%s at %d", x.Text(), due-t0)
		}
	}
	for i, x := range parsed {
		followers[i].Close()
		want, err := s.whole.Evaluate(t.Context(), x, start, end, step, o)
		wanted := s.lines(t, s.whole, x, want, err)
		got, err := s.router.Evaluate(t.Context(), x, start, end, step, o)
		require.Equal(t, wanted, s.lines(t, s.router, x, got, err), x.Text())
		// A rule has no step, and is not followed.
		o := promql.Options{Viewer: pushedViewer, Delay: &delay}
		want, err = s.whole.Evaluate(t.Context(), x, end, end, 0, o)
		wanted = s.lines(t, s.whole, x, want, err)
		got, err = s.router.Evaluate(t.Context(), x, end, end, 0, o)
		require.Equal(t, wanted, s.lines(t, s.router, x, got, err), x.Text())
	}
	require.Zero(t, s.all.QueryBytes())
	require.NotZero(t, collected(t, s.pushed, "groups"))
	require.NotZero(t, collected(t, s.pushed, "router"), "sums of histograms")
}

// collected is how many steps were evaluated by whom.
func collected(t testing.TB, g *pushed.Groups, by string) float64 {
	t.Helper()
	return metricIn(t, "promgrpc_router_pushed_steps_total", by, g.Collectors()...)
}

// A group one of whose servers goes is asked at the other; one that is away holds the step
// back until it is there again, or nobody wants it any more.
func TestPushedAway(t *testing.T) {
	s := newSharded(t, byInstance(t), 2)
	r := rand.New(rand.NewPCG(2, 17))
	delay, step := time.Second, int64(second)
	o := promql.Options{Viewer: pushedViewer, Delay: &delay, Lookback: 20 * time.Second, Late: step}
	x, err := s.router.Parse(t.Context(), pushedViewer, "sum by (job) (m_total)")
	require.NoError(t, err)
	f := s.router.Follow(x, o)
	defer f.Close()
	at, due := t0, t0+5*second
	evaluate := func(ctx context.Context) error {
		for at < due+delay.Milliseconds() {
			at += second
			s.write(t, r, at)
		}
		s.all.await(t, s.sources...)
		want, err := s.whole.Evaluate(t.Context(), x, due, due, 0, o)
		wanted := s.lines(t, s.whole, x, want, err)
		got, err := f.Evaluate(ctx, pushedViewer, due)
		if err == nil {
			require.Equal(t, wanted, s.lines(t, s.router, x, got, err))
			due += second
		}
		return err
	}
	for range 3 {
		require.NoError(t, evaluate(t.Context()))
	}
	s.servers[0][0].stop()
	s.servers[1][1].stop()
	for range 3 {
		require.NoError(t, evaluate(t.Context()))
	}
	s.servers[0][1].stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, evaluate(ctx), context.DeadlineExceeded, "the group is away")

	again := startFed(t, testConfig(t), s.sources[0])
	s.groups.serve(0, again)
	for range 3 {
		require.NoError(t, evaluate(t.Context()))
	}
}

// steps is a stream of a router, of which it returns the next answer.
type steps func() (stepsAnswer, error)

// stepsAnswer is of a query or of rules.
type stepsAnswer interface {
	GetAway() *metricsv1.Away
	GetHeartbeat() *metricsv1.Heartbeat
	GetEvaluated() *timestamppb.Timestamp
}

// until returns the first answer that is wanted.
func (s steps) until(t *testing.T, wanted func(stepsAnswer) bool) stepsAnswer {
	t.Helper()
	for {
		a, err := s()
		require.NoError(t, err)
		if wanted(a) {
			return a
		}
	}
}

// A stream whose step a group holds back that evaluates a part of it is told that the group
// is away, or ends, as its caller chooses.
func TestPushedAwayIsTold(t *testing.T) {
	client, stop := httpClient(true)
	t.Cleanup(stop)
	asked := map[string]func(router, expr string, when metricsv1.WhenAway) steps{
		"query": func(router, expr string, when metricsv1.WhenAway) steps {
			recv := queryAt(t, router, &queryRequest{
				Expression: expr, Step: secs(1), Delay: secs(1), Start: sinceQuery(t0 + 5*second), Follow: true, HeartbeatInterval: millis(100), WhenAway: when,
			})
			return func() (stepsAnswer, error) { return recv() }
		},
		"rules": func(router, expr string, when metricsv1.WhenAway) steps {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			t.Cleanup(cancel)
			stream, err := queryv1connect.NewQueryServiceClient(client, "http://"+router).EvaluateRules(ctx, connect.NewRequest(&queryv1.EvaluateRulesRequest{
				Rules: "groups: [{name: g, interval: 1s, rules: [{record: r, expr: " + expr + "}]}]", Delay: secs(1), Follow: true, HeartbeatInterval: millis(100), WhenAway: when,
				Start: &queryv1.EvaluateRulesRequest_Since{Since: timestamppb.New(time.UnixMilli(t0 + 5*second))},
			}))
			require.NoError(t, err)
			t.Cleanup(func() { _ = stream.Close() })
			return func() (stepsAnswer, error) {
				if !stream.Receive() {
					return nil, stream.Err()
				}
				return stream.Msg(), nil
			}
		},
	}
	for name, ask := range asked {
		t.Run(name, func(t *testing.T) {
			s := newSharded(t, byInstance(t), 1)
			s.groups.pushed = s.pushed
			router := s.groups.router(patience)
			r := rand.New(rand.NewPCG(2, 17))
			for at := t0 + second; at < t0+60*second; at += second {
				s.write(t, r, at)
			}
			for i, of := range s.servers {
				of[0].await(t, s.sources[i])
			}
			last := func(a stepsAnswer) bool { return a.GetEvaluated().AsTime().UnixMilli() >= t0+50*second }
			beats := func(a stepsAnswer) bool { return a.GetHeartbeat() != nil }
			told := func(a stepsAnswer) bool { return a.GetAway() != nil }
			ask(router, "sum(m_total)", metricsv1.WhenAway_WHEN_AWAY_WAIT).until(t, last) // The router knows which steps are due.
			s.servers[1][0].stop()

			waiting := ask(router, "max(m_total)", metricsv1.WhenAway_WHEN_AWAY_WAIT)
			refused := ask(router, "min(m_total)", metricsv1.WhenAway_WHEN_AWAY_REFUSE)
			waiting.until(t, beats)
			refused.until(t, beats)
			s.groups.serve(1)
			require.Equal(t, []string{"group1"}, waiting.until(t, told).GetAway().GetGroups())
			var err error
			for err == nil {
				_, err = refused()
			}
			requireCode(t, connect.CodeUnavailable, err)
			require.ErrorContains(t, err, "group1")

			s.groups.serve(1, startFed(t, testConfig(t), s.sources[1]))
			require.Empty(t, waiting.until(t, told).GetAway().GetGroups())
			waiting.until(t, last)
		})
	}
}

// A group that is added is asked from the next step on, and series that move to it are
// counted once: while an expression reads from both sides of that, it is evaluated whole.
func TestPushedMoved(t *testing.T) {
	moved := t0 + 40*second
	p, err := placement.New(2, placement.ByLabels, []string{"i"}, []placement.Epoch{
		{From: placement.Ever, Groups: []string{"group0"}}, {From: moved, Groups: []string{"group0", "group1"}},
	})
	require.NoError(t, err)
	s := newSharded(t, func() *placement.Placement { return p }, 1)
	groups := s.groups.list
	s.groups.list = groups[:1]
	delay, step := time.Second, int64(2*second)
	o := promql.Options{Viewer: pushedViewer, Delay: &delay, Lookback: 10 * time.Second, Late: step}
	x, err := s.router.Parse(t.Context(), pushedViewer, "sum by (job) (m_total)")
	require.NoError(t, err)
	f := s.router.Follow(x, o)
	defer f.Close()
	at := t0
	for due := t0 + 10*second; due < t0+80*second; due += step {
		if due == moved-10*second {
			s.groups.list = groups
		}
		for at < due+delay.Milliseconds() {
			at += second
			points := make([][]point, 2)
			for i := range 6 {
				to := 0
				if at >= moved && i%2 == 1 {
					to = 1
				}
				points[to] = append(points[to], point{series: fmt.Sprintf(`m_total{i="%d",job="%d"}`, i, i%3), t: at, v: float64(i)})
			}
			for g, src := range s.sources {
				src.writeAt(at, points[g]...)
			}
		}
		s.all.await(t, s.sources...)
		whole := collected(t, s.pushed, "router")
		want, err := s.whole.Evaluate(t.Context(), x, due, due, 0, o)
		wanted := s.lines(t, s.whole, x, want, err)
		got, err := f.Evaluate(t.Context(), pushedViewer, due)
		require.Equal(t, wanted, s.lines(t, s.router, x, got, err), "at %d", due-moved)
		require.Equal(t, moved <= due && due < moved+10*second, collected(t, s.pushed, "router") > whole, "at %d", due-moved)
	}
}

// Where nothing says that a series is in one group, groups evaluate nothing.
func TestPushedApart(t *testing.T) {
	bySender, err := placement.New(1, placement.BySender, nil, []placement.Epoch{{From: placement.Ever, Groups: []string{"group0", "group1"}}})
	require.NoError(t, err)
	for _, p := range []*placement.Placement{nil, bySender} {
		s := newSharded(t, func() *placement.Placement { return p }, 1)
		for _, src := range s.sources {
			src.writeAt(t0+10*second, point{series: `m_total{i="1"}`, t: t0 + 10*second, v: 7})
		}
		s.all.await(t, s.sources...)
		delay := time.Duration(0)
		x, err := s.router.Parse(t.Context(), pushedViewer, "sum(m_total)")
		require.NoError(t, err)
		got, err := s.router.Evaluate(t.Context(), x, t0+11*second, t0+11*second, 0, promql.Options{Viewer: pushedViewer, Delay: &delay})
		require.NoError(t, err)
		require.Contains(t, strings.Join(s.lines(t, s.router, x, got, nil), "\n"), "7 @", "the series counts once")
		require.Zero(t, s.groups.list[0].turn)
	}
}

// metricIn is a metric of some collectors, with a value of its only label.
func metricIn(t testing.TB, name, label string, collectors ...prometheus.Collector) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors...)
	return (&instance{registry: registry}).metricOf(t, name, label)
}

// Who follows an expression at a router has the same steps from it as from one server, where
// groups evaluate parts of it as where nobody does, over each protocol; those who follow the
// same have it evaluated once.
func TestPushedQuery(t *testing.T) {
	s := newSharded(t, byInstance(t), 2)
	s.groups.pushed = s.pushed
	router := s.groups.router(patience)
	r := rand.New(rand.NewPCG(3, 17))
	for at := t0 + second; at <= t0+30*second; at += second {
		s.write(t, r, at)
	}
	s.all.await(t, s.sources...)
	for _, text := range []string{"sum by (job) (m_total)", "count(rate(m_total[10s]))", "avg(m_total)", "topk(1, m_total)", "h"} {
		request := &queryRequest{Expression: text, Step: secs(2), Delay: secs(3), Start: sinceQuery(t0 + 10*second), End: timestamppb.New(time.UnixMilli(t0 + 26*second))}
		overAll(t, func(t *testing.T, p protocol) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			want := newResults(t).all(p.openQuery(t, ctx, s.all.RPCAddr().String(), request))
			require.NotEmpty(t, want.lines)
			for _, follow := range []bool{true, false} { // what does not follow ends with what the router knows to be due
				request := proto.CloneOf(request)
				request.Follow = follow
				got := newResults(t).all(p.openQuery(t, ctx, router, request))
				require.Equal(t, byStep(t, want), byStep(t, got), text)
				require.Equal(t, want.late, got.late, text)
				require.ElementsMatch(t, want.lines, got.lines, text)
			}
		})
	}
	require.NotZero(t, collected(t, s.pushed, "groups"))
	before := s.groups.list[0].turn
	request := &queryRequest{Expression: "max by (job) (m_total)", Step: secs(2), Delay: secs(3), Follow: true}
	var following []queryReceiver
	for range 5 {
		recv := queryAt(t, router, request)
		newResults(t).until(recv, func(m *queryResponse) bool { return m.GetSynced() != nil })
		following = append(following, recv)
	}
	for at := t0 + 31*second; at <= t0+40*second; at += second {
		s.write(t, r, at)
	}
	for _, recv := range following {
		newResults(t).until(recv, upTo(t0+36*second))
	}
	require.LessOrEqual(t, s.groups.list[0].turn-before, 2, "one call for all, and one for the step that was due")
}

// BenchmarkPushed evaluates a sum over 20,000 series in two groups, step by step, from what
// groups evaluated and from samples: CPU time of a step, of the servers and of the router,
// and bytes that come to the router.
func BenchmarkPushed(b *testing.B) {
	const series, gap = 20_000, 3 * second
	for _, by := range []string{"groups", "router"} {
		b.Run(by, func(b *testing.B) {
			placed := byInstance(b)
			s := newSharded(b, placed, 1)
			at := t0
			for at < t0+60*second {
				at += gap
				points := make([][]point, len(s.sources))
				for i := range series {
					g := i % len(s.sources)
					points[g] = append(points[g], point{series: fmt.Sprintf(`m_total{i="%d",instance="host-%d:9100",job="job-%d"}`, i, i/100, i%10), t: at, v: float64(at-t0) * float64(i)})
				}
				for g, src := range s.sources {
					src.writeAt(at, points[g]...)
				}
			}
			budget := func(name string) *limit.Budget { return limit.NewBudget("--limit."+name, "units", 1<<30, 1<<30) }
			evaluations := selection.NewEvaluations(selection.DefaultLimits(), budget("evaluation-bytes"))
			shared := promql.Shared{
				Source: &routed.Source{Groups: s.groups, Evaluations: evaluations, Timeout: patience}, Evaluations: evaluations,
				Logger: slog.New(slog.DiscardHandler), Bytes: budget("query-bytes"), Turns: budget("queries"),
			}
			if by == "groups" {
				shared.Groups = s.pushed
			}
			engine := promql.New(promql.DefaultConfig(), shared)
			delay := time.Duration(0)
			x, err := engine.Parse(b.Context(), pushedViewer, "sum by (job) (rate(m_total[1m]))")
			require.NoError(b, err)
			f := engine.Follow(x, promql.Options{Viewer: pushedViewer, Delay: &delay, Lookback: 5 * time.Minute, Late: second})
			defer f.Close()
			step := func() {
				at += second
				for i, src := range s.sources {
					src.tickAt(at)
					for _, srv := range s.servers[i] {
						srv.await(b, src)
					}
				}
				result, err := f.Evaluate(b.Context(), pushedViewer, at-second)
				require.NoError(b, err)
				require.Len(b, result.Value, 10)
			}
			step()
			bytes, began := received.Load(), cpu()
			b.ResetTimer()
			for b.Loop() {
				step()
			}
			b.ReportMetric(float64((cpu()-began).Microseconds())/float64(b.N), "cpu-µs/step")
			b.ReportMetric(float64(received.Load()-bytes)/float64(b.N), "bytes/step")
		})
	}
}
