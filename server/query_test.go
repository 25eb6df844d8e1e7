package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1grpc"
	"github.com/promgrpc/exporter/internal/seglog"
)

type queryRequest = queryv1.QueryRequest
type queryResponse = queryv1.QueryResponse

// queryReceiver is the client's end of a query; io.EOF is its end.
type queryReceiver func() (*queryResponse, error)

// openQuery calls by a protocol.
func (p *protocol) openQuery(t testing.TB, ctx context.Context, address string, req *queryRequest) queryReceiver {
	if p.options == nil {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		stream, err := queryv1grpc.NewQueryServiceClient(conn).Query(ctx, req)
		require.NoError(t, err)
		return stream.Recv
	}
	client, stop := httpClient(p.h2)
	t.Cleanup(stop)
	stream, err := queryv1connect.NewQueryServiceClient(client, "http://"+address, p.options...).Query(ctx, connect.NewRequest(req))
	if err == nil {
		t.Cleanup(func() { _ = stream.Close() })
	}
	return func() (*queryResponse, error) {
		switch {
		case err != nil:
			return nil, err
		case stream.Receive():
			return stream.Msg(), nil
		case stream.Err() != nil:
			return nil, stream.Err()
		}
		return nil, io.EOF
	}
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

func ms(n int64) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Millisecond) }

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
				Expression: "m", Step: ms(10 * second), Delay: ms(5 * second), LabelReferences: references,
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
				Expression: "m", Start: sinceQuery(t0), Step: ms(10 * second), Delay: ms(5 * second), LabelReferences: references,
			}))
			require.ElementsMatch(t, want, got.lines)
			require.Equal(t, t0+20*second, got.last.GetEvaluated().AsTime().UnixMilli())
		}
	})
}
