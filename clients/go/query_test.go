package promgrpc_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// The steps that stepwise serves: each has series in parts, of which the last one has
// the cursor.
const (
	lastStep = 4
	parts    = 3
)

// seriesAt returns a series with its value at a step, by a reference that the first
// step of a stream introduces.
func seriesAt(step, part int, introduce bool) *metricsv1.TimeSeries {
	s := &metricsv1.TimeSeries{Ref: uint64(part + 1), Samples: []*metricsv1.Sample{{Value: float64(10*step + part), Timestamp: int64(step)}}}
	if introduce {
		s.Labels = []*metricsv1.Label{{Name: "part", Value: strconv.Itoa(part)}}
	}
	return s
}

func part(step, part int, introduce bool) *queryv1.QueryResponse {
	r := &queryv1.QueryResponse{
		Timeseries:  []*metricsv1.TimeSeries{seriesAt(step, part, introduce)},
		Annotations: []*queryv1.Annotation{{Severity: queryv1.Annotation_SEVERITY_INFO, Text: fmt.Sprint("part ", part)}},
		LateSamples: 1,
	}
	if part == parts-1 {
		r.Cursor, r.Evaluated = fmt.Sprint("c", step), timestamppb.New(time.UnixMilli(int64(step)))
	}
	return r
}

func queryEnd() *queryv1.QueryResponse {
	return &queryv1.QueryResponse{Event: &queryv1.QueryResponse_End{End: &metricsv1.End{}}}
}

// stepwise serves the steps after the cursor and the end, and fails the first call
// after cut responses.
func stepwise(cut int, fail func() error) metricstest.QueryScript {
	return func(_ context.Context, call *metricstest.QueryCall) error {
		after, _ := strconv.Atoi(strings.TrimPrefix(call.Request.GetCursor(), "c"))
		var script []*queryv1.QueryResponse
		for step := after + 1; step <= lastStep; step++ {
			for i := range parts {
				script = append(script, part(step, i, step == after+1))
			}
		}
		for i, r := range append(script, queryEnd()) {
			if fail != nil && call.Number == 0 && i == cut {
				return fail()
			}
			if err := call.Send(r); err != nil {
				return err
			}
		}
		if fail != nil && call.Number == 0 {
			return fail()
		}
		return nil
	}
}

// steps requires that all that comes are whole steps with all that belongs to them, and
// returns which.
func steps(t *testing.T, c *promgrpc.Client, q promgrpc.Query) (got []int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for s, err := range c.Query(ctx, q) {
		require.NoError(t, err)
		require.False(t, s.GetForgetReferences())
		if s.GetCursor() == "" {
			require.Empty(t, s.GetTimeseries())
			continue
		}
		step := int(s.GetEvaluated().AsTime().UnixMilli())
		require.Equal(t, fmt.Sprint("c", step), s.GetCursor())
		require.Len(t, s.GetTimeseries(), parts)
		for i, series := range s.GetTimeseries() {
			want := seriesAt(step, i, true)
			want.Ref = 0
			require.True(t, proto.Equal(want, series), "%v, want %v", series, want)
			require.Equal(t, fmt.Sprint("part ", i), s.GetAnnotations()[i].GetText())
		}
		require.EqualValues(t, parts, s.GetLateSamples())
		got = append(got, step)
	}
	return got
}

var allSteps = []int{1, 2, 3, 4}

func TestQueryYieldsWholeStepsWhereverTheStreamIsCut(t *testing.T) {
	failures := map[string]func() error{
		"connection":  func() error { metricstest.Abort(); return nil },
		"closed":      func() error { return nil },
		"unavailable": func() error { return metricstest.Error(connect.CodeUnavailable, "x") },
		"drained": func() error {
			return metricstest.Error(connect.CodeUnavailable, "x", &metricsv1.StreamInterrupted{Reason: metricsv1.StreamInterrupted_REASON_DRAINING})
		},
		"aged": func() error {
			return metricstest.Error(connect.CodeUnavailable, "x", &metricsv1.StreamInterrupted{Reason: metricsv1.StreamInterrupted_REASON_MAX_AGE})
		},
	}
	for _, protocol := range protocols {
		for name, fail := range failures {
			for cut := range lastStep*parts + 1 {
				t.Run(fmt.Sprintf("%s/%s/%d", protocol, name, cut), func(t *testing.T) {
					server := &metricstest.Server{Query: stepwise(cut, fail)}
					c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
					require.Equal(t, allSteps, steps(t, c, promgrpc.Query{Expression: "e", Follow: cut%2 == 0}))
					requests := server.Queries()
					require.Len(t, requests, 2)
					want := ""
					if whole := cut / parts; whole > 0 {
						want = fmt.Sprint("c", whole)
					}
					require.Equal(t, want, requests[1].GetCursor())
				})
			}
		}
	}
}

// The connection is cut after each number of bytes, so in the middle of messages and of
// frames.
func TestQueryYieldsWholeStepsAtWhicheverByteTheConnectionIsCut(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := &metricstest.Server{
				Query:  stepwise(0, nil),
				Status: &metricsv1.GetStatusResponse{Instance: "a", Uptime: durationpb.New(time.Hour)},
			}
			address := server.Start(t)
			for cut := int64(0); ; cut++ {
				cutter, proxy := metricstest.Cut(t, address, cut)
				c := newClient(t, protocol, promgrpc.Options{}, proxy)
				require.Equal(t, allSteps, steps(t, c, promgrpc.Query{Expression: "e", Follow: true}), "cut after %d bytes", cut)
				if cutter.Stop(); cutter.Passed() < cut {
					require.Greater(t, cut, int64(lastStep*parts), "the whole stream was shorter")
					return
				}
			}
		})
	}
}

// A server that ends a stream hands over the cursor of what it sent, which may be of
// later steps than the last that had results. It is of no use within a step.
func TestQueryGoesOnAtTheCursorThatADrainingServerHandsOver(t *testing.T) {
	for cut, want := range map[int][]int{parts: {1, 4}, parts + 1: allSteps} {
		for _, protocol := range protocols {
			t.Run(fmt.Sprint(protocol, cut), func(t *testing.T) {
				server := &metricstest.Server{Query: stepwise(cut, func() error {
					return metricstest.Error(connect.CodeUnavailable, "draining", &metricsv1.StreamInterrupted{Cursor: "c3"})
				})}
				c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
				require.Equal(t, want, steps(t, c, promgrpc.Query{Expression: "e", Follow: true}))
			})
		}
	}
}

// Events within a step come from a server that is not well: the step is not taken.
func TestQueryDropsStepsWithEventsInside(t *testing.T) {
	synced := part(1, 0, true)
	synced.Event = &queryv1.QueryResponse_Synced{Synced: &metricsv1.Synced{}}
	for name, script := range map[string][]*queryv1.QueryResponse{
		"end":                 {part(1, 0, true), queryEnd()},
		"synced and a part":   {synced},
		"unknown reference":   {part(1, 0, true), part(1, 1, false)},
		"reference forgotten": {part(1, 0, true), {ForgetReferences: true, Timeseries: []*metricsv1.TimeSeries{seriesAt(1, 0, false)}, Cursor: "c1"}},
	} {
		for _, protocol := range protocols {
			t.Run(fmt.Sprint(protocol, "/", name), func(t *testing.T) {
				server := &metricstest.Server{Query: func(ctx context.Context, call *metricstest.QueryCall) error {
					if call.Number > 0 {
						return stepwise(0, nil)(ctx, call)
					}
					for _, r := range script {
						if err := call.Send(r); err != nil {
							return err
						}
					}
					<-ctx.Done()
					return ctx.Err()
				}}
				c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
				require.Equal(t, allSteps, steps(t, c, promgrpc.Query{Expression: "e"}))
			})
		}
	}
}

// What has a cursor but no series, heartbeats, and events are yielded at once.
func TestQueryYieldsEvents(t *testing.T) {
	evaluated := timestamppb.New(time.UnixMilli(7))
	script := []*queryv1.QueryResponse{
		{Event: &queryv1.QueryResponse_Heartbeat{Heartbeat: &metricsv1.Heartbeat{}}},
		part(1, 0, true),
		{Event: &queryv1.QueryResponse_Heartbeat{Heartbeat: &metricsv1.Heartbeat{}}},
		{Cursor: "c1", Evaluated: evaluated, LateSamples: 2},
		{Event: &queryv1.QueryResponse_Synced{Synced: &metricsv1.Synced{}}, Cursor: "c1"},
		{Event: &queryv1.QueryResponse_Heartbeat{Heartbeat: &metricsv1.Heartbeat{}}, Cursor: "c2"},
		queryEnd(),
	}
	want := []string{"heartbeat", "heartbeat", "c1 series", "c1 synced", "c2 heartbeat", "end"}
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := &metricstest.Server{Query: func(_ context.Context, call *metricstest.QueryCall) error {
				for _, r := range script {
					if err := call.Send(r); err != nil {
						return err
					}
				}
				return nil
			}}
			address := server.Start(t)
			var got []string
			for s, err := range newClient(t, protocol, promgrpc.Options{}, address).Query(t.Context(), promgrpc.Query{Expression: "e", Follow: true}) {
				require.NoError(t, err)
				require.Equal(t, address, s.Address)
				got = append(got, describe(s))
			}
			require.Equal(t, want, got)
		})
	}
}

func describe(s promgrpc.Steps) string {
	words := []string{s.GetCursor()}
	if len(s.GetTimeseries()) > 0 {
		words = append(words, "series")
	}
	switch s.GetEvent().(type) {
	case *queryv1.QueryResponse_Synced:
		words = append(words, "synced")
	case *queryv1.QueryResponse_Heartbeat:
		words = append(words, "heartbeat")
	case *queryv1.QueryResponse_End:
		words = append(words, "end")
	}
	return strings.TrimSpace(strings.Join(words, " "))
}

func TestQueryAsksForAllThatItIsGiven(t *testing.T) {
	since, until, delay := time.UnixMilli(1000), time.UnixMilli(9000), time.Duration(0)
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := &metricstest.Server{Query: stepwise(0, nil)}
			c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
			steps(t, c, promgrpc.Query{
				Expression: "up", Since: &since, End: &until, Step: time.Minute, Follow: true, Delay: &delay,
				Lookback: time.Hour, OnChange: true, HeartbeatInterval: time.Second,
			})
			steps(t, c, promgrpc.Query{Expression: "up", Cursor: "c3"})
			want := []*queryv1.QueryRequest{{
				Expression: "up", Start: &queryv1.QueryRequest_Since{Since: timestamppb.New(since)}, End: timestamppb.New(until),
				Step: durationpb.New(time.Minute), Follow: true, Delay: durationpb.New(0), Lookback: durationpb.New(time.Hour),
				OnChange: true, HeartbeatInterval: durationpb.New(time.Second), LabelReferences: true,
			}, {
				Expression: "up", Start: &queryv1.QueryRequest_Cursor{Cursor: "c3"}, LabelReferences: true,
			}}
			for i, got := range server.Queries() {
				require.True(t, proto.Equal(want[i], got), "%v", got)
			}
			for _, err := range c.Query(t.Context(), promgrpc.Query{Expression: "up", Since: &since, Cursor: "c3"}) {
				require.ErrorContains(t, err, "both")
			}
			require.Len(t, server.Queries(), len(want))
		})
	}
}

func TestQuerySaysWhereAnExpressionIsWrong(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			script := func(context.Context, *metricstest.QueryCall) error {
				return metricstest.Error(connect.CodeInvalidArgument, "unexpected )", &queryv1.InvalidExpression{Start: 3, End: 4})
			}
			a, b := &metricstest.Server{Query: script}, &metricstest.Server{Query: script}
			c := newClient(t, protocol, promgrpc.Options{}, a.Start(t), b.Start(t))
			var last error
			for _, err := range c.Query(t.Context(), promgrpc.Query{Expression: "up)", Follow: true}) {
				last = err
			}
			var wrong *promgrpc.ExpressionError
			require.ErrorAs(t, last, &wrong)
			require.Equal(t, [2]int{3, 4}, [2]int{wrong.Start, wrong.End})
			require.Equal(t, "unexpected )", wrong.Reason())
			require.Equal(t, codes.InvalidArgument, status.Code(last))
			require.Len(t, append(a.Queries(), b.Queries()...), 1)
		})
	}
}

func TestQueryEndsWhenItsCallerLeaves(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := &metricstest.Server{Query: stepwise(0, nil)}
			c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
			for s, err := range c.Query(t.Context(), promgrpc.Query{Expression: "e", Follow: true}) {
				require.NoError(t, err)
				require.Equal(t, "c1", s.GetCursor())
				break
			}
			require.Len(t, server.Queries(), 1)
		})
	}
}
