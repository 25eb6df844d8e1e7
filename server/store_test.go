package server_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/gen/go/thanos/info"
	"github.com/promgrpc/exporter/gen/go/thanos/info/infoconnect"
	"github.com/promgrpc/exporter/gen/go/thanos/thanosconnect"
)

// stores are the clients of a server's StoreAPI.
type stores struct {
	thanosconnect.StoreClient
	infoconnect.InfoClient
}

// storeAs returns clients that have a token.
func (v way) storeAs(t testing.TB, s *instance, token string) (stores, *tapped) {
	client, stop := httpClient(v.h2)
	t.Cleanup(stop)
	w := &tapped{RoundTripper: client.Transport, token: token}
	by, url := &http.Client{Transport: w}, "http://"+s.RPCAddr().String()
	return stores{thanosconnect.NewStoreClient(by, url, v.options...), infoconnect.NewInfoClient(by, url, v.options...)}, w
}

// all returns the series of a request.
func (c stores) all(ctx context.Context, req *thanos.SeriesRequest) (got []*thanos.SeriesResponse, err error) {
	stream, err := c.Series(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		got = append(got, proto.CloneOf(stream.Msg()))
	}
	return got, stream.Err()
}

// storeLine is a series as a line.
func storeLine(t testing.TB, s *thanos.Series) string {
	var text strings.Builder
	for _, l := range s.GetLabels() {
		fmt.Fprintf(&text, "%s=%s ", l.GetName(), l.GetValue())
	}
	for _, c := range s.GetChunks() {
		data, err := chunkenc.FromData(chunkenc.EncXOR, c.GetRaw().GetData())
		require.NoError(t, err)
		it := data.Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			at, v := it.At()
			fmt.Fprintf(&text, "%v@%d ", v, at-t0)
		}
		require.NoError(t, it.Err())
	}
	return text.String()
}

// Every protocol says the same.
func TestStore(t *testing.T) {
	first, second := newSourceAt(t, t0), newSourceAt(t, t0)
	first.writeAt(t0, point{series: `m{i="1"}`, t: t0, v: 1}, point{series: `m{i="2"}`, t: t0, v: 2})
	second.writeAt(t0, point{series: `m{i="1"}`, t: t0, v: 1}, point{series: `m{i="3",zone="z"}`, t: t0, v: 3})
	second.writeAt(t0+1000, point{series: `m{i="1"}`, t: t0 + 1000, v: 4})
	c := testConfig(t)
	c.Instance, c.StoreLabels = "here", []string{"region=eu"}
	srv := startFed(t, c, first, second)
	overWays(t, func(t *testing.T, v way) {
		c, _ := v.storeAs(t, srv, "")
		got, err := c.all(t.Context(), &thanos.SeriesRequest{MinTime: t0, MaxTime: t0 + 5000, Matchers: []*thanos.LabelMatcher{{Name: "__name__", Value: "m"}}})
		require.NoError(t, err)
		var lines []string
		for _, m := range got {
			lines = append(lines, storeLine(t, m.GetSeries()))
		}
		require.Equal(t, []string{
			"__name__=m i=1 region=eu replica=here 1@0 4@1000 ",
			"__name__=m i=2 region=eu replica=here 2@0 ",
			"__name__=m i=3 region=eu replica=here zone=z 3@0 ",
		}, lines)

		names, err := c.LabelNames(t.Context(), connect.NewRequest(&thanos.LabelNamesRequest{Start: t0, End: t0, WithoutReplicaLabels: []string{"replica"}}))
		require.NoError(t, err)
		require.Equal(t, []string{"__name__", "i", "region", "zone"}, names.Msg.GetNames())
		values, err := c.LabelValues(t.Context(), connect.NewRequest(&thanos.LabelValuesRequest{Label: "i", Start: t0, End: t0, Limit: 2}))
		require.NoError(t, err)
		require.Equal(t, []string{"1", "2"}, values.Msg.GetValues())

		about, err := c.Info(t.Context(), connect.NewRequest(&info.InfoRequest{}))
		require.NoError(t, err)
		require.Equal(t, "receive", about.Msg.GetComponentType())
		require.Equal(t, t0, about.Msg.GetStore().GetMinTime())
		require.Equal(t, int64(math.MaxInt64), about.Msg.GetStore().GetMaxTime())
		require.True(t, about.Msg.GetStore().GetSupportsWithoutReplicaLabels())
		require.True(t, about.Msg.GetStore().GetSupportsSharding())
		require.Len(t, about.Msg.GetLabelSets(), 1)
		require.Equal(t, `labels: { name: "region" value: "eu" } labels: { name: "replica" value: "here" }`, stable(about.Msg.GetLabelSets()[0]))

		_, err = c.all(t.Context(), &thanos.SeriesRequest{Matchers: []*thanos.LabelMatcher{{Type: thanos.LabelMatcher_RE, Name: "i", Value: "("}}})
		requireCode(t, connect.CodeInvalidArgument, err)
		_, err = c.LabelValues(t.Context(), connect.NewRequest(&thanos.LabelValuesRequest{}))
		requireCode(t, connect.CodeInvalidArgument, err)
	})
}

// calls of a store, by name.
func (c stores) calls(ctx context.Context) map[string]error {
	all := map[string]error{}
	_, all["Info"] = c.Info(ctx, connect.NewRequest(&info.InfoRequest{}))
	_, all["Series"] = c.all(ctx, &thanos.SeriesRequest{MaxTime: math.MaxInt64})
	_, all["LabelNames"] = c.LabelNames(ctx, connect.NewRequest(&thanos.LabelNamesRequest{End: math.MaxInt64}))
	_, all["LabelValues"] = c.LabelValues(ctx, connect.NewRequest(&thanos.LabelValuesRequest{Label: "replica", End: math.MaxInt64}))
	return all
}

// As long as there is no log, nothing is said of one.
func TestStoreIsNotReady(t *testing.T) {
	srv := start(t, testConfig(t))
	overWays(t, func(t *testing.T, v way) {
		c, _ := v.storeAs(t, srv, "")
		for name, err := range c.calls(t.Context()) {
			require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err), "%s: %v", name, err)
		}
	})
}

// A caller gets what its policy allows, and who may only write gets nothing.
func TestStoreOfPolicies(t *testing.T) {
	srv := startFed(t, restricted(t, twoTeams), ofTwoTeams(t))
	overWays(t, func(t *testing.T, v way) {
		for token, want := range map[string]int{"a": 2, "b": 2, "all": 5} {
			c, _ := v.storeAs(t, srv, token)
			for name, err := range c.calls(t.Context()) {
				require.NoError(t, err, "%s by %s", name, token)
			}
			got, err := c.all(t.Context(), &thanos.SeriesRequest{MaxTime: math.MaxInt64})
			require.NoError(t, err)
			require.Len(t, got, want, token)
			about, err := c.Info(t.Context(), connect.NewRequest(&info.InfoRequest{}))
			require.NoError(t, err)
			require.Equal(t, token != "all", about.Msg.GetStore().GetMinTime() == math.MinInt64, token)
		}
		for token, code := range map[string]connect.Code{"writer": connect.CodePermissionDenied, "": connect.CodeUnauthenticated} {
			c, _ := v.storeAs(t, srv, token)
			for name, err := range c.calls(t.Context()) {
				require.Equal(t, code, connect.CodeOf(err), "%s by %q: %v", name, token, err)
			}
		}
	})
}

// What is found takes room, and a caller is told which limit that is.
func TestStoreLimits(t *testing.T) {
	src := newSourceAt(t, t0)
	var points []point
	for i := range 2000 {
		points = append(points, point{series: name(i), t: t0, v: 1})
	}
	src.writeAt(t0, points...)
	c := testConfig(t)
	c.Engine.Bytes = 64 << 10
	srv := startFed(t, c, src)
	overWays(t, func(t *testing.T, v way) {
		c, _ := v.storeAs(t, srv, "")
		before := srv.metricOf(t, "promgrpc_server_over_limit_total", "query-bytes")
		_, err := c.all(t.Context(), &thanos.SeriesRequest{MinTime: t0, MaxTime: t0})
		requireCode(t, connect.CodeResourceExhausted, err)
		require.ErrorContains(t, err, "--limit.query-bytes")
		require.InDelta(t, before+1, srv.metricOf(t, "promgrpc_server_over_limit_total", "query-bytes"), 0)
		some, err := c.all(t.Context(), &thanos.SeriesRequest{MinTime: t0, MaxTime: t0, Matchers: []*thanos.LabelMatcher{{Name: "i", Value: "00001"}}})
		require.NoError(t, err)
		require.Len(t, some, 1)
	})
}

// askStore asks both worlds as a querier does.
func (w *worlds) askStore() {
	matchers := []*thanos.LabelMatcher{
		{Type: thanos.LabelMatcher_NEQ, Name: "__name__"}, {Name: "team", Value: "b"}, {Type: thanos.LabelMatcher_RE, Name: "team", Value: ".*"},
		{Name: "hidden"}, {Type: thanos.LabelMatcher_RE, Name: "i", Value: "[0-4]"}, {Type: thanos.LabelMatcher_RE, Name: "i", Value: "("},
		{Name: "replica", Value: "none"}, {Name: "__name__", Value: "metric_1"},
	}
	var set []*thanos.LabelMatcher
	for range w.random.IntN(3) {
		set = append(set, matchers[w.random.IntN(len(matchers))])
	}
	from := w.written - w.random.Int64N(200_000)
	to, label := from+w.random.Int64N(200_000), []string{"hidden", "team", "i", "__name__", "replica"}[w.random.IntN(5)]
	v, skip := ways[w.random.IntN(len(ways))], w.random.IntN(3) == 0
	var texts, bytes [2]string
	for world, s := range w.servers {
		c, tap := v.storeAs(w.t, s, "a")
		series, err := c.all(w.t.Context(), &thanos.SeriesRequest{MinTime: from, MaxTime: to, Matchers: set, SkipChunks: skip})
		texts[world] = textOf(w, series, err)
		about, err := c.Info(w.t.Context(), connect.NewRequest(&info.InfoRequest{}))
		require.NoError(w.t, err)
		texts[world] += stable(about.Msg)
		names, err := c.LabelNames(w.t.Context(), connect.NewRequest(&thanos.LabelNamesRequest{Start: from, End: to, Matchers: set}))
		if err == nil {
			texts[world] += stable(names.Msg)
		}
		values, err := c.LabelValues(w.t.Context(), connect.NewRequest(&thanos.LabelValuesRequest{Start: from, End: to, Label: label, Matchers: set}))
		if err == nil {
			texts[world] += stable(values.Msg)
		}
		bytes[world] = tap.taken()
	}
	require.Empty(w.t, difference(texts[0], texts[1]), "%s: %v", v.name, set)
	require.Len(w.t, bytes[1], len(bytes[0]), "%s: %v", v.name, set)
	require.NotContains(w.t, bytes[1], hidden, "%s: %v", v.name, set)
}
