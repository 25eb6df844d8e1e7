package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/router"
	"github.com/promgrpc/exporter/server/stored"
)

// withPolicies has a router let in who an access file says.
func withPolicies(t testing.TB) func(*router.Config) {
	return func(c *router.Config) { c.AccessFile = accessFile(t, twoTeams) }
}

// ofTeams are two groups, the second of which has the series of both teams.
func ofTeams(t testing.TB) *twoGroups {
	two := newTwoGroups(t)
	writeTeams(two.sources[1])
	two.await(t)
	return two
}

// At a router a token opens what it opens at a server.
func TestRouterRights(t *testing.T) {
	r := startRouter(t, ofTeams(t), withPolicies(t))
	requireRights(t, r, func() float64 { return sumOf(t, r.reg, "promgrpc_server_denied_calls_total") })
	require.NotContains(t, r.log.String(), "wrong", "a token is nobody's business")
}

// Each team gets its own series of a router, though the router itself may see all that its
// groups have.
func TestRouterShowsEachTeamItsOwn(t *testing.T) {
	r := startRouter(t, ofTeams(t), withPolicies(t))
	requireOwnSeries(t, r)
	requireNoTeams(t, r.reg)
}

// A sealed cursor of one router is continued at another that has the key, by the policy that
// it was given to, and by no other.
func TestRouterCursorsOfPolicies(t *testing.T) {
	two := ofTeams(t)
	one, other := startRouter(t, two, withPolicies(t)), startRouter(t, two, withPolicies(t))
	requireOwnCursors(t, one, other, two.sources[1], func() { two.await(t) })
}

// What a router evaluates for a caller, and the series that it gives to be evaluated, are of
// those that the caller may see, whichever group has them.
func TestRouterQueriesOfPolicies(t *testing.T) {
	two := twoGroupsOf(t, newSourceAt(t, t0), newSourceAt(t, t0))
	for i, team := range []string{"a", "b"} {
		two.sources[i].writeAt(t0, point{series: fmt.Sprintf("m{team=%q}", team), t: t0, v: float64(i + 1)})
		two.sources[i].tickAt(t0 + 10*second)
	}
	two.await(t)
	r := startRouter(t, two, withPolicies(t))
	requireQueriesOfPolicies(t, r)
	sums := map[string]float64{"a": 1, "b": 2, "all": 3}
	overWays(t, func(t *testing.T, v way) {
		for token, sum := range sums {
			c, _ := v.queryAs(t, r, token)
			require.Equal(t, []string{fmt.Sprintf("g: r %v @%d", sum, t0+10*second)}, recordsOf(t, c), token)
			series := seriesOf(t, c)
			if token == "all" {
				require.Equal(t, []string{`{__name__="m", team="a"} 0 1 0`, `{__name__="m", team="b"} 0 2 0`}, series)
			} else {
				require.Equal(t, []string{fmt.Sprintf(`{__name__="m", team=%q} 0 %v 0`, token, sum)}, series)
			}
		}
	})
	for token, sum := range sums {
		ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.address()+"/api/v1/query?"+
			url.Values{"query": {"sum(m)"}, "time": {seconds(t0 + second)}}.Encode(), nil)
		require.NoError(t, err)
		ask.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(ask)
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Contains(t, string(body), fmt.Sprintf(`"%v"]`, sum), token)
	}
}

// recordsOf are what a rule that sums all series records.
func recordsOf(t *testing.T, c queryv1connect.QueryServiceClient) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := c.EvaluateRules(ctx, connect.NewRequest(&rulesRequest{
		Rules: "groups: [{name: g, interval: 10s, rules: [{record: r, expr: sum(m)}]}]", Delay: millis(0),
	}))
	require.NoError(t, err)
	defer stream.Close()
	got := &rulings{t: t}
	for stream.Receive() {
		got.add(stream.Msg())
	}
	require.NoError(t, stream.Err())
	return got.lines
}

// seriesOf are the samples of all series that a caller may read.
func seriesOf(t *testing.T, c queryv1connect.QueryServiceClient) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := c.ReadSeries(ctx, connect.NewRequest(&queryv1.ReadSeriesRequest{Selectors: []string{"m"}, MinTime: t0, MaxTime: t0 + second}))
	require.NoError(t, err)
	defer stream.Close()
	var d stored.Decoder
	for stream.Receive() {
		wire, err := proto.Marshal(stream.Msg())
		require.NoError(t, err)
		_, err = d.Response(wire)
		require.NoError(t, err)
	}
	require.NoError(t, stream.Err())
	require.True(t, d.Ended)
	return linesOf(t, d.Series, chunk.All)
}
