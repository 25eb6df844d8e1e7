package server_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// A query that is followed through a router is told where to go on when that ends, and does
// so at another router. Its steps are those of one server that has the series of all groups,
// those that move from one group to another meanwhile included.
func TestRouterQueriesGoOnElsewhere(t *testing.T) {
	overAll(t, func(t *testing.T, p protocol) {
		s := newGroupsStory(t, 11)
		two := twoGroupsOf(t, s.sources[0], s.sources[1])
		whole := startFed(t, testConfig(t), s.sources...)
		one, other := startRouter(t, two), startRouter(t, two)
		s.goOn(t0 + 60*second)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req := func() *queryRequest {
			return &queryRequest{Expression: "sum by (b) (m)", Step: secs(5), Delay: secs(7), Start: sinceQuery(t0), Follow: true, HeartbeatInterval: millis(100)}
		}
		last := func() int64 { return (s.now - 7*second) / (5 * second) * 5 * second }
		got := newResults(t)
		recv := p.openQuery(t, ctx, one.address(), req())
		got.until(recv, upTo(last()))
		s.goOn(t0 + 90*second) // beyond the instant
		got.until(recv, upTo(last()))
		told := one.drain(t, func() error { return got.untilError(recv) })
		require.Equal(t, got.cursor, told.GetCursor())

		next := req()
		next.Start = afterQuery(told.GetCursor())
		s.goOn(t0 + 130*second)
		got.until(p.openQuery(t, ctx, other.address(), next), upTo(last()))
		whole.await(t, s.sources...)
		all := req()
		all.Follow, all.HeartbeatInterval = false, nil
		want := newResults(t).all(whole.query(t, all))
		require.NotEmpty(t, want.lines)
		require.ElementsMatch(t, want.lines, got.lines)
		if !p.lossy {
			require.Equal(t, byStep(t, want), byStep(t, got), "bit by bit")
		}
	})
}

// So it is with rules, whose alerts keep their state at the other router.
func TestRouterRulesGoOnElsewhere(t *testing.T) {
	const rules = `groups: [{name: g, interval: 5s, rules: [{record: r, expr: sum by (b) (m)}, {alert: a, expr: "sum by (b) (m) > 1", for: 20s}]}]`
	overAll(t, func(t *testing.T, p protocol) {
		s := newGroupsStory(t, 12)
		two := twoGroupsOf(t, s.sources[0], s.sources[1])
		whole := startFed(t, testConfig(t), s.sources...)
		one, other := startRouter(t, two), startRouter(t, two)
		s.goOn(t0 + 60*second)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req := func() *rulesRequest {
			return &rulesRequest{Rules: rules, Delay: secs(7), Start: sinceRules(t0), Follow: true, HeartbeatInterval: millis(100)}
		}
		last := func() int64 { return (s.now - 7*second) / (5 * second) * 5 * second }
		got := &rulings{t: t}
		until := func(recv rulesReceiver) {
			t.Helper()
			for ms := last(); got.last.GetEvaluated() == nil || got.last.GetEvaluated().AsTime().UnixMilli() < ms; {
				m, err := recv()
				require.NoError(t, err)
				got.add(m)
			}
		}
		recv := p.openRules(t, ctx, one.address(), req())
		until(recv)
		s.goOn(t0 + 90*second)
		until(recv)
		told := one.drain(t, func() error { return got.untilError(recv) })
		require.Equal(t, got.cursor, told.GetCursor())

		next := req()
		next.Start = afterRules(told.GetCursor())
		s.goOn(t0 + 130*second)
		until(p.openRules(t, ctx, other.address(), next))
		whole.await(t, s.sources...)
		all := req()
		all.Follow, all.HeartbeatInterval = false, nil
		want := (&rulings{t: t}).all(whole.evaluate(t, all))
		require.NotEmpty(t, want.lines)
		require.Equal(t, want.lines, got.lines)
	})
}
