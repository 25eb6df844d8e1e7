package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1grpc"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/internal/seglog"
)

type queryRequest = queryv1.QueryRequest
type queryResponse = queryv1.QueryResponse

// queryReceiver is the client's end of a query; io.EOF is its end.
type queryReceiver func() (*queryResponse, error)

// openQuery calls by a protocol.
func (p *protocol) openQuery(t testing.TB, ctx context.Context, address string, req *queryRequest) queryReceiver {
	if p.options == nil {
		return receiveGRPC(t, address, func(conn *grpc.ClientConn) (grpc.ServerStreamingClient[queryResponse], error) {
			return queryv1grpc.NewQueryServiceClient(conn).Query(ctx, req)
		})
	}
	return receiveConnect(t, p.h2, func(client *http.Client) (*connect.ServerStreamForClient[queryResponse], error) {
		return queryv1connect.NewQueryServiceClient(client, "http://"+address, p.options...).Query(ctx, connect.NewRequest(req))
	})
}

// query opens a query over gRPC that ends with the test.
func (s *instance) query(t testing.TB, req *queryRequest) queryReceiver {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return protocols[0].openQuery(t, ctx, s.RPCAddr().String(), req)
}

// results is what a client makes of a query: a line for each value, by the step.
type results struct {
	t testing.TB
	// labels by reference.
	labels map[uint64][]*metricsv1.Label
	lines  []string
	last   *queryResponse
	cursor string
	seen   struct{ synced, heartbeats, forgets, responses int }
	late   uint64
	// annotations, each once.
	annotations []string
	messages    []*queryResponse
}

func newResults(t testing.TB) *results {
	return &results{t: t, labels: map[uint64][]*metricsv1.Label{}}
}

func (r *results) add(m *queryResponse) {
	r.last = m
	r.messages = append(r.messages, m)
	r.seen.responses++
	if m.GetForgetReferences() {
		clear(r.labels)
		r.seen.forgets++
	}
	for _, ts := range m.GetTimeseries() {
		if ref := ts.GetRef(); ref != 0 {
			if len(ts.GetLabels()) > 0 {
				r.labels[ref] = ts.GetLabels()
			}
			require.NotEmpty(r.t, r.labels[ref], "a reference is known")
			ts.Labels = r.labels[ref]
		}
		for _, line := range tsLines(ts) {
			r.lines = append(r.lines, strings.Replace(line, "NaN @", "gone @", 1))
		}
	}
	if m.GetCursor() != "" {
		r.cursor = m.GetCursor()
		require.NotNil(r.t, m.GetEvaluated())
	} else {
		require.Nil(r.t, m.GetEvaluated())
	}
	if m.GetSynced() != nil {
		r.seen.synced++
	}
	if m.GetHeartbeat() != nil {
		r.seen.heartbeats++
	}
	r.late += m.GetLateSamples()
	for _, a := range m.GetAnnotations() {
		r.annotations = append(r.annotations, a.GetText())
	}
}

// all receives until the end.
func (r *results) all(recv queryReceiver) *results {
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

// until receives up to and including the first response for which done is true.
func (r *results) until(recv queryReceiver, done func(*queryResponse) bool) *results {
	r.t.Helper()
	for {
		m, err := recv()
		require.NoError(r.t, err)
		r.add(m)
		if done(m) {
			return r
		}
	}
}

// upTo is the response that completes a step.
func upTo(ms int64) func(*queryResponse) bool {
	return func(m *queryResponse) bool {
		return m.GetEvaluated() != nil && m.GetEvaluated().AsTime().UnixMilli() >= ms
	}
}

// newSourceAt starts a log at a time in the past.
func newSourceAt(t testing.TB, ms int64) *source {
	o := seglog.DefaultOptions()
	o.Sync, o.Logger, o.Now = seglog.SyncNever, slog.New(slog.DiscardHandler), func() time.Time { return time.UnixMilli(ms) }
	return openSource(t, t.TempDir(), o)
}

// tickAt appends a block of a time without anything in it.
func (s *source) tickAt(ms int64) { s.writeAt(ms) }

// writeAt writes a block of a time.
func (s *source) writeAt(ms int64, points ...point) uint64 {
	b := s.block(points...)
	b.Time = ms
	return s.append(b)
}

// t0 is a time in the past that is a whole multiple of all steps in tests.
var t0 = time.Now().Truncate(time.Hour).Add(-time.Hour).UnixMilli()

const second = 1000

func sinceQuery(ms int64) *queryv1.QueryRequest_Since {
	return &queryv1.QueryRequest_Since{Since: timestamppb.New(time.UnixMilli(ms))}
}

func afterQuery(cursor string) *queryv1.QueryRequest_Cursor {
	return &queryv1.QueryRequest_Cursor{Cursor: cursor}
}

// Without a start, a query is of the latest step that is due, over each protocol.
func TestQueryLatest(t *testing.T) {
	src := newSourceAt(t, t0)
	src.writeAt(t0+1, point{series: `m{a="1"}`, t: t0, v: 1}, point{series: `m{a="2"}`, t: t0, v: 10})
	src.tickAt(t0 + 25*second)
	srv := startFed(t, testConfig(t), src)
	want := []string{fmt.Sprintf(`m{a="1"} 1 @%d`, t0+20*second), fmt.Sprintf(`m{a="2"} 10 @%d`, t0+20*second)}
	overAll(t, func(t *testing.T, p protocol) {
		for _, references := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			got := newResults(t).all(p.openQuery(t, ctx, srv.RPCAddr().String(), &queryRequest{
				Expression: "m", Step: millis(10 * second), Delay: millis(5 * second), LabelReferences: references,
			}))
			require.Equal(t, want, got.lines)
			require.Equal(t, t0+20*second, got.last.GetEvaluated().AsTime().UnixMilli())
		}
	})
}

// A query comes to the same over each protocol: the steps that are due, in order, with a
// stale marker where a series is gone.
func TestQuery(t *testing.T) {
	src := newSourceAt(t, t0)
	src.writeAt(t0+1, point{series: `m{a="1"}`, t: t0, v: 1}, point{series: `m{a="2"}`, t: t0, v: 10})
	src.writeAt(t0+10*second, point{series: `m{a="1"}`, t: t0 + 10*second - 1, v: 2}, point{series: `m{a="2"}`, t: t0 + 10*second - 1, v: staleNaN})
	src.tickAt(t0 + 25*second)
	srv := startFed(t, testConfig(t), src)
	want := []string{
		fmt.Sprintf(`m{a="1"} 1 @%d`, t0),
		fmt.Sprintf(`m{a="1"} 2 @%d`, t0+10*second),
		fmt.Sprintf(`m{a="1"} 2 @%d`, t0+20*second),
		fmt.Sprintf(`m{a="2"} 10 @%d`, t0),
		fmt.Sprintf(`m{a="2"} gone @%d`, t0+10*second),
	}
	overAll(t, func(t *testing.T, p protocol) {
		for _, references := range []bool{false, true} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			got := newResults(t).all(p.openQuery(t, ctx, srv.RPCAddr().String(), &queryRequest{
				Expression: "m", Start: sinceQuery(t0), Step: millis(10 * second), Delay: millis(5 * second), LabelReferences: references,
			}))
			require.ElementsMatch(t, want, got.lines)
			require.Equal(t, t0+20*second, got.last.GetEvaluated().AsTime().UnixMilli())
		}
	})
}

// follow is a query of m with steps of ten seconds, without a delay.
func follow() *queryRequest {
	return &queryRequest{Expression: "m", Step: millis(10 * second), Delay: millis(0), Follow: true}
}

// A query that follows has each step as it becomes due, in short where the client keeps
// labels, and only what has changed where it asks for that.
func TestQueryFollows(t *testing.T) {
	overAll(t, func(t *testing.T, p protocol) {
		for _, references := range []bool{false, true} {
			for _, onChange := range []bool{false, true} {
				t.Run(fmt.Sprint(references, onChange), func(t *testing.T) {
					src := newSourceAt(t, t0)
					src.writeAt(t0+5*second, point{series: `m{a="1"}`, t: t0 + 5*second, v: 1}, point{series: `m{a="2"}`, t: t0 + 5*second, v: 10})
					src.tickAt(t0 + 10*second)
					srv := startFed(t, testConfig(t), src)
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					req := follow()
					req.LabelReferences, req.OnChange = references, onChange
					got := newResults(t)
					recv := p.openQuery(t, ctx, srv.RPCAddr().String(), req)
					got.until(recv, func(m *queryResponse) bool { return m.GetSynced() != nil })
					require.Equal(t, []string{fmt.Sprintf(`m{a="1"} 1 @%d`, t0+10*second), fmt.Sprintf(`m{a="2"} 10 @%d`, t0+10*second)}, got.lines)

					got.lines = nil
					src.writeAt(t0+15*second, point{series: `m{a="1"}`, t: t0 + 15*second, v: 2}, point{series: `m{a="3"}`, t: t0 + 15*second, v: 3})
					src.tickAt(t0 + 20*second)
					got.until(recv, upTo(t0+20*second))
					want := []string{fmt.Sprintf(`m{a="1"} 2 @%d`, t0+20*second), fmt.Sprintf(`m{a="2"} 10 @%d`, t0+20*second), fmt.Sprintf(`m{a="3"} 3 @%d`, t0+20*second)}
					if onChange {
						want = []string{want[0], want[2]}
					}
					require.Equal(t, want, got.lines)

					got.lines = nil
					src.writeAt(t0+25*second, point{series: `m{a="2"}`, t: t0 + 25*second, v: staleNaN})
					src.tickAt(t0 + 30*second)
					got.until(recv, upTo(t0+30*second))
					want = []string{fmt.Sprintf(`m{a="1"} 2 @%d`, t0+30*second), fmt.Sprintf(`m{a="2"} gone @%d`, t0+30*second), fmt.Sprintf(`m{a="3"} 3 @%d`, t0+30*second)}
					if onChange {
						want = []string{want[1]}
					}
					require.Equal(t, want, got.lines)

					got.lines = nil
					src.writeAt(t0+35*second, point{series: `m{a="2"}`, t: t0 + 35*second, v: 7})
					src.tickAt(t0 + 40*second)
					got.until(recv, upTo(t0+40*second))
					want = []string{fmt.Sprintf(`m{a="1"} 2 @%d`, t0+40*second), fmt.Sprintf(`m{a="2"} 7 @%d`, t0+40*second), fmt.Sprintf(`m{a="3"} 3 @%d`, t0+40*second)}
					if onChange {
						want = []string{want[1]}
					}
					require.Equal(t, want, got.lines)
					require.Equal(t, 1, got.seen.synced)
					require.Zero(t, got.seen.forgets)
					require.Equal(t, references, len(got.labels) > 0)
				})
			}
		}
	})
}

// A series that is gone gets one stale marker, whose bits are Prometheus'.
func TestQueryMarker(t *testing.T) {
	src := newSourceAt(t, t0)
	src.writeAt(t0+1, point{series: "m", t: t0, v: 1})
	src.writeAt(t0+10*second-1, point{series: "m", t: t0 + 10*second - 1, v: staleNaN})
	src.tickAt(t0 + 30*second)
	srv := startFed(t, testConfig(t), src)
	got := newResults(t).all(srv.query(t, &queryRequest{Expression: "m", Start: sinceQuery(t0 + 5*second), Step: millis(5 * second), Delay: millis(5)}))
	var samples []*metricsv1.Sample
	for _, m := range got.messages {
		for _, ts := range m.GetTimeseries() {
			samples = append(samples, ts.GetSamples()...)
		}
	}
	require.Len(t, samples, 2)
	require.Equal(t, t0+10*second, samples[1].GetTimestamp())
	require.Equal(t, math.Float64bits(staleNaN), math.Float64bits(samples[1].GetValue()))
}

// A histogram and a scalar are results, too; a series without labels has no reference.
func TestQueryKinds(t *testing.T) {
	src := newSourceAt(t, t0)
	src.writeAt(t0+1, point{series: "h", t: t0, histogram: sizedHistogram(t, 3, t0, 0)}, point{series: "m", t: t0, v: 1})
	src.tickAt(t0 + 20*second)
	srv := startFed(t, testConfig(t), src)
	overAll(t, func(t *testing.T, p protocol) {
		for expression, want := range map[string][]string{
			"h":             {fmt.Sprintf("h histogram sum 3 @%d", t0+20*second)},
			"sum(m)":        {fmt.Sprintf(" 1 @%d", t0+20*second)},
			"scalar(m) + 1": {fmt.Sprintf(" 2 @%d", t0+20*second)},
			`m or label_replace(vector(2), "a", "b", "", "")`: {fmt.Sprintf("m 1 @%d", t0+20*second), fmt.Sprintf(`{a="b"} 2 @%d`, t0+20*second)},
			"m > 2":           nil,
			"absent(missing)": {fmt.Sprintf(" 1 @%d", t0+20*second)},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			got := newResults(t).all(p.openQuery(t, ctx, srv.RPCAddr().String(), &queryRequest{
				Expression: expression, Step: millis(10 * second), Delay: millis(0), LabelReferences: true,
			}))
			require.Equal(t, want, got.lines, expression)
			require.Equal(t, t0+20*second, got.last.GetEvaluated().AsTime().UnixMilli())
		}
	})
}

// What is wrong with a request is said, and where in an expression.
func TestQueryRefused(t *testing.T) {
	src := newSourceAt(t, t0)
	src.writeAt(t0, point{series: "m", t: t0, v: 1}, point{series: `n{a="1"}`, t: t0, v: 1}, point{series: `n{a="2"}`, t: t0, v: 1})
	src.tickAt(t0 + 20*second)
	srv := startFed(t, testConfig(t), src)
	c := cursor.Cursor{Positions: []cursor.Position{{Log: src.writer.Log().ID(), Sequence: 1}}}
	overAll(t, func(t *testing.T, p protocol) {
		for _, refused := range []struct {
			req        *queryRequest
			text       string
			start, end uint32
		}{
			{&queryRequest{Expression: "m + rat(m[5m])"}, "expression: ", 4, 7},
			{&queryRequest{Expression: "m[5m]"}, "results in a matrix", 0, 5},
			{&queryRequest{Expression: `"m"`}, "results in a string", 0, 3},
			{&queryRequest{Expression: "m", Step: durationpb.New(time.Second + 1)}, "step: 1.000000001s is not of whole milliseconds", 0, 0},
			{&queryRequest{Expression: "m", Lookback: durationpb.New(1)}, "lookback: 1ns is not of whole milliseconds", 0, 0},
			{&queryRequest{Expression: "m", Start: afterQuery(c.String())}, "the cursor is one of GetMetrics", 0, 0},
			{&queryRequest{Expression: "m", Start: afterQuery("x")}, "cursor", 0, 0},
			{&queryRequest{Expression: "m", Start: afterQuery(cursor.Query{Query: 1}.String())}, "of another query", 0, 0},
			{&queryRequest{Expression: "m + on () n", Delay: millis(0)}, "the expression cannot be evaluated at ", 0, 0},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, err := p.openQuery(t, ctx, srv.RPCAddr().String(), refused.req)()
			require.ErrorContains(t, err, refused.text)
			require.Equal(t, connect.CodeInvalidArgument, codeOf(err), "%v", err)
			found, located := findDetail[*queryv1.InvalidExpression](err)
			require.Equal(t, refused.end > 0, located, "%v", err)
			require.Equal(t, refused.start, found.GetStart(), "%v", err)
			require.Equal(t, refused.end, found.GetEnd(), "%v", err)
		}
	})
	// JSON has no way to say these.
	_, err := srv.query(t, &queryRequest{Expression: "m", End: &timestamppb.Timestamp{Nanos: -1}})()
	require.ErrorContains(t, err, "end: ")
	_, err = srv.query(t, &queryRequest{Expression: "m", Start: &queryv1.QueryRequest_Since{Since: &timestamppb.Timestamp{Nanos: -1}}})()
	require.ErrorContains(t, err, "since: ")
	// And the other way round.
	_, err = srv.call(t, &getRequest{Start: after(cursor.Query{Query: 1}.String())})()
	require.ErrorContains(t, err, "the cursor is one of a query")
}
