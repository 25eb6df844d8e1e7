package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
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
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		stream, err := queryv1grpc.NewQueryServiceClient(conn).EvaluateRules(ctx, req)
		require.NoError(t, err)
		return stream.Recv
	}
	client, stop := httpClient(p.h2)
	t.Cleanup(stop)
	stream, err := queryv1connect.NewQueryServiceClient(client, "http://"+address, p.options...).EvaluateRules(ctx, connect.NewRequest(req))
	if err == nil {
		t.Cleanup(func() { _ = stream.Close() })
	}
	return func() (*rulesResponse, error) {
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
