package server_test

import (
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	cursorv1 "github.com/promgrpc/exporter/gen/go/promgrpc/cursor/v1"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/internal/cursor"
)

// A cursor of a time before there was anything has no server evaluate the steps since then,
// which may be billions. It is as one of what is not retained any more.
func TestCursorsFromBeforeTheLogs(t *testing.T) {
	src := loadSource(t)
	srv := startFed(t, testConfig(t), src)
	got := newResults(t).all(srv.query(t, &queryRequest{Expression: "load", Start: sinceQuery(0), Step: secs(10)}))
	first := newResults(t)
	first.until(srv.query(t, &queryRequest{Expression: "load", Start: sinceQuery(0), Step: secs(10)}), func(m *queryResponse) bool { return m.GetCursor() != "" })
	newResults(t).all(srv.query(t, &queryRequest{Expression: "load", Step: secs(10), Start: afterQuery(first.cursor)}))
	c, err := cursor.ParseQuery(got.cursor)
	require.NoError(t, err)
	c.Evaluated = 0
	_, err = srv.query(t, &queryRequest{Expression: "load", Step: secs(10), Start: afterQuery(c.String())})()
	requireCode(t, connect.CodeOutOfRange, err)
	oldest := detail[*metricsv1.CursorOutOfRange](t, err).GetOldestCursor()
	newResults(t).all(srv.query(t, &queryRequest{Expression: "load", Step: secs(10), Start: afterQuery(oldest)}))

	rulings := (&rulings{t: t}).all(srv.evaluate(t, testRulesRequest()))
	c, err = cursor.ParseQuery(rulings.cursor)
	require.NoError(t, err)
	var state cursorv1.RuleState
	require.NoError(t, proto.Unmarshal(c.State, &state))
	state.Groups[1].Next = 0
	c.State, err = proto.Marshal(&state)
	require.NoError(t, err)
	req := testRulesRequest()
	req.Start = afterRules(c.String())
	err = rulings.untilError(srv.evaluate(t, req))
	requireCode(t, connect.CodeOutOfRange, err)
	req.Start = afterRules(detail[*metricsv1.CursorOutOfRange](t, err).GetOldestCursor())
	rulings.all(srv.evaluate(t, req))
}

// Times of rules have to be as those of queries.
func TestTimesOfRules(t *testing.T) {
	srv := startFed(t, testConfig(t), loadSource(t))
	wrong := &timestamppb.Timestamp{Seconds: 1 << 60}
	for want, change := range map[string]func(*rulesRequest){
		"since: ": func(r *rulesRequest) { r.Start = &queryv1.EvaluateRulesRequest_Since{Since: wrong} },
		"end: ":   func(r *rulesRequest) { r.End = wrong },
		"interval: 1.0005s is not of whole milliseconds": func(r *rulesRequest) { r.Interval = durationpb.New(time.Second + time.Millisecond/2) },
		"delay: 1ns is not of whole milliseconds":        func(r *rulesRequest) { r.Delay = durationpb.New(1) },
	} {
		req := testRulesRequest()
		change(req)
		_, err := srv.evaluate(t, req)()
		requireCode(t, connect.CodeInvalidArgument, err)
		require.ErrorContains(t, err, want)
	}
}

// The last step is not after the end, however little.
func TestEndBetweenMilliseconds(t *testing.T) {
	srv := startFed(t, testConfig(t), loadSource(t))
	end := time.UnixMilli(t0 + 20*second).Add(-1)
	got := newResults(t).all(srv.query(t, &queryRequest{Expression: "vector(1)", Start: sinceQuery(t0), End: timestamppb.New(end), Step: secs(10)}))
	require.Equal(t, t0+10*second, got.messages[len(got.messages)-2].GetEvaluated().AsTime().UnixMilli())
}
