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
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// ruling is a part of a step of rules, of which the last one has the cursor.
func ruling(step, part int) *queryv1.EvaluateRulesResponse {
	name := fmt.Sprint("part ", part)
	r := &queryv1.EvaluateRulesResponse{
		Group:       "g",
		Timeseries:  []*metricsv1.TimeSeries{seriesAt(step, part, true)},
		Alerts:      []*queryv1.Alert{{GeneratorUrl: name}},
		Annotations: []*queryv1.Annotation{{Text: name}},
		Failures:    []*queryv1.RuleFailure{{Rule: name}},
	}
	if part == parts-1 {
		r.Cursor, r.Evaluated = fmt.Sprint("c", step), timestamppb.New(time.UnixMilli(int64(step)))
	}
	return r
}

// ruled serves the steps after the cursor, after the alerts that are active there, and
// fails the first call after cut responses.
func ruled(cut int, fail func() error) metricstest.RulesScript {
	return func(_ context.Context, call *metricstest.RulesCall) error {
		after, _ := strconv.Atoi(strings.TrimPrefix(call.Request.GetCursor(), "c"))
		var script []*queryv1.EvaluateRulesResponse
		if call.Request.GetActive() {
			script = append(script, &queryv1.EvaluateRulesResponse{
				Group: "active", Cursor: call.Request.GetCursor(), Evaluated: timestamppb.New(time.UnixMilli(int64(after))),
			})
		}
		for step := after + 1; step <= lastStep; step++ {
			for i := range parts {
				script = append(script, ruling(step, i))
			}
		}
		script = append(script, &queryv1.EvaluateRulesResponse{Event: &queryv1.EvaluateRulesResponse_End{End: &metricsv1.End{}}})
		for i, r := range script {
			if call.Number == 0 && i == cut {
				return fail()
			}
			if err := call.Send(r); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestRulesYieldsWholeStepsWhereverTheStreamIsCut(t *testing.T) {
	for name, fail := range map[string]func() error{
		"connection":  func() error { metricstest.Abort(); return nil },
		"closed":      func() error { return nil },
		"unavailable": func() error { return metricstest.Error(connect.CodeUnavailable, "x") },
	} {
		for i := range len(protocols) * (parts*(lastStep-1) + 2) {
			cut := i / len(protocols)
			s := &metricstest.Server{Rules: ruled(cut, fail), Status: &metricsv1.GetStatusResponse{Instance: "a", Uptime: durationpb.New(time.Hour)}}
			c := newClient(t, protocols[i%len(protocols)], promgrpc.Options{}, s.Start(t))
			var steps, active []int
			for r, err := range c.Rules(t.Context(), promgrpc.Rules{File: "f", Cursor: "c1", Active: true, Follow: true}) {
				require.NoError(t, err, name)
				switch {
				case r.GetGroup() == "active":
					active = append(active, len(steps))
				case r.GetGroup() != "":
					require.Len(t, r.GetTimeseries(), parts)
					for i := range parts {
						want := fmt.Sprint("part ", i)
						require.Equal(t, []string{want, want, want}, []string{r.GetAlerts()[i].GetGeneratorUrl(), r.GetAnnotations()[i].GetText(), r.GetFailures()[i].GetRule()})
					}
					steps = append(steps, int(r.GetEvaluated().AsTime().UnixMilli()))
				}
			}
			require.Equal(t, []int{2, 3, 4}, steps, "%s after %d", name, cut)
			require.NotEmpty(t, active, "%s after %d", name, cut)
			for _, at := range active {
				require.Zero(t, at, "the alerts that are active come first: %s after %d", name, cut)
			}
		}
	}
}

func TestRulesRequest(t *testing.T) {
	var got *queryv1.EvaluateRulesRequest
	s := &metricstest.Server{Rules: func(_ context.Context, call *metricstest.RulesCall) error {
		got = call.Request
		return metricstest.Error(connect.CodeInvalidArgument, "rules: wrong", &queryv1.InvalidExpression{Start: 1, End: 2, Group: "g", Rule: "r"})
	}}
	c := newClient(t, protocols[0], promgrpc.Options{}, s.Start(t))
	at, delay := time.UnixMilli(1000), time.Duration(0)
	var wrong *promgrpc.ExpressionError
	for _, err := range c.Rules(t.Context(), promgrpc.Rules{
		File: "f", Since: &at, End: &at, Interval: time.Minute, Follow: true, Delay: &delay, ExternalLabels: map[string]string{"a": "b"},
		ExternalURL: "http://x", HeartbeatInterval: time.Second,
	}) {
		require.ErrorAs(t, err, &wrong)
	}
	require.Equal(t, []string{"g", "r"}, []string{wrong.Group, wrong.Rule})
	want := &queryv1.EvaluateRulesRequest{
		Rules: "f", Start: &queryv1.EvaluateRulesRequest_Since{Since: timestamppb.New(at)}, End: timestamppb.New(at), Interval: durationpb.New(time.Minute),
		Follow: true, Delay: durationpb.New(0), ExternalLabels: map[string]string{"a": "b"}, ExternalUrl: "http://x", HeartbeatInterval: durationpb.New(time.Second),
	}
	require.Equal(t, want.String(), got.String())
	for _, err := range c.Rules(t.Context(), promgrpc.Rules{File: "f", Since: &at, Cursor: "c"}) {
		require.ErrorContains(t, err, "both a time and a cursor")
	}
}
