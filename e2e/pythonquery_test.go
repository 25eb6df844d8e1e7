//go:build debian

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/promgrpc/exporter/e2e/harness"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
)

// stepwise is a server with steps of several responses, whose first stream breaks off
// after some.
type stepwise struct {
	metricsv1connect.UnimplementedMetricsServiceHandler
	queryv1connect.UnimplementedQueryServiceHandler
	cut     int
	fail    func() error
	cursors chan string
}

const (
	stepwiseSteps = 3
	stepwiseParts = 2
)

// GetStatus answers who asks whether the server is alive.
func (stepwise) GetStatus(context.Context, *connect.Request[metricsv1.GetStatusRequest]) (*connect.Response[metricsv1.GetStatusResponse], error) {
	return connect.NewResponse(&metricsv1.GetStatusResponse{}), nil
}

func (s stepwise) Query(_ context.Context, req *connect.Request[queryv1.QueryRequest], stream *connect.ServerStream[queryv1.QueryResponse]) error {
	if expression := req.Msg.GetExpression(); strings.HasSuffix(expression, "(") {
		err := connect.NewError(connect.CodeInvalidArgument, errors.New("unclosed parenthesis"))
		at := uint32(len(expression))
		detail, _ := connect.NewErrorDetail(&queryv1.InvalidExpression{Start: at, End: at})
		err.AddDetail(detail)
		return err
	}
	s.cursors <- req.Msg.GetCursor()
	first, sent := len(s.cursors) == 1, 0
	after, _ := strconv.Atoi(req.Msg.GetCursor())
	for step := after + 1; step <= stepwiseSteps; step++ {
		for part := range stepwiseParts {
			if first && sent == s.cut {
				return s.fail()
			}
			r := &queryv1.QueryResponse{Timeseries: []*metricsv1.TimeSeries{{
				Ref: uint64(part + 1), Samples: []*metricsv1.Sample{{Timestamp: int64(step), Value: float64(10*step + part)}},
			}}}
			if step == after+1 {
				r.Timeseries[0].Labels = []*metricsv1.Label{{Name: "part", Value: strconv.Itoa(part)}}
			}
			if part == stepwiseParts-1 {
				r.Cursor, r.Evaluated = strconv.Itoa(step), timestamppb.New(time.UnixMilli(int64(step)))
			}
			if err := stream.Send(r); err != nil {
				return err
			}
			sent++
		}
	}
	if first {
		return s.fail()
	}
	return stream.Send(&queryv1.QueryResponse{Event: &queryv1.QueryResponse_End{End: &metricsv1.End{}}})
}

// TestPythonQuery has the example print each step once and as a whole, wherever the
// stream breaks off.
func TestPythonQuery(t *testing.T) {
	t.Parallel()
	failures := map[string]func() error{
		"connection":  func() error { panic(http.ErrAbortHandler) },
		"closed":      func() error { return nil },
		"unavailable": func() error { return connect.NewError(connect.CodeUnavailable, errors.New("x")) },
	}
	for name, fail := range failures {
		for cut := range stepwiseSteps*stepwiseParts + 1 {
			t.Run(fmt.Sprint(name, cut), func(t *testing.T) {
				s := stepwise{cut: cut, fail: fail, cursors: make(chan string, 10)}
				code, stdout, stderr := subscribePython(t, "--address="+serveSteps(t, s), "--follow", "up")
				if code != 0 {
					t.Fatalf("exit code %d: %s", code, stderr)
				}
				var want []string
				for step := 1; step <= stepwiseSteps; step++ {
					want = append(want, fmt.Sprintf(`{"evaluated": %[1]d, "results": [{"metric": {"part": "0"}, "values": {"%[1]d": "%[1]d0"}}, {"metric": {"part": "1"}, "values": {"%[1]d": "%[1]d1"}}], "cursor": "%[1]d"}`, step))
				}
				if got := strings.Split(strings.TrimSpace(string(stdout)), "\n"); !slices.Equal(want, got) {
					t.Errorf("steps %q, want %q", got, want)
				}
				first, second := <-s.cursors, <-s.cursors
				resumed := ""
				if whole := cut / stepwiseParts; whole > 0 {
					resumed = strconv.Itoa(whole)
				}
				// A reset may overtake what was sent before it.
				if first != "" || second != resumed && name != "connection" {
					t.Errorf("the streams began at %q and %q", first, second)
				}
			})
		}
	}
	code, _, stderr := subscribePython(t, "--address="+serveSteps(t, stepwise{}), "sum(ä + (")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	contains(t, stderr, "unclosed parenthesis\n  sum(ä + (\n           ^\n")
}

// TestPythonQueryWhileAGroupIsAway has the example say so, also within a step, and ask a
// router to refuse only when it is told to.
func TestPythonQueryWhileAGroupIsAway(t *testing.T) {
	t.Parallel()
	for want, args := range map[metricsv1.WhenAway][]string{
		metricsv1.WhenAway_WHEN_AWAY_UNSPECIFIED: nil,
		metricsv1.WhenAway_WHEN_AWAY_REFUSE:      {"--refuse-when-away"},
	} {
		t.Run(want.String(), func(t *testing.T) {
			asked := make(chan metricsv1.WhenAway, 1)
			address := serveSteps(t, partly{asked: asked})
			code, stdout, stderr := subscribePython(t, append([]string{"--address=" + address, "up"}, args...)...)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if got := <-asked; got != want {
				t.Errorf("when_away was %s", got)
			}
			contains(t, stderr, "no server answers of: b\n")
			contains(t, stdout, `"values": {"1": "1"}}, {"metric": {"part": "1"}, "values": {"1": "2"}}]`)
		})
	}
}

// partly is a router of which a group is away while it sends a step.
type partly struct {
	stepwise
	asked chan<- metricsv1.WhenAway
}

func (p partly) Query(_ context.Context, req *connect.Request[queryv1.QueryRequest], stream *connect.ServerStream[queryv1.QueryResponse]) error {
	p.asked <- req.Msg.GetWhenAway()
	part := func(n int) []*metricsv1.TimeSeries {
		return []*metricsv1.TimeSeries{{
			Ref: uint64(n + 1), Labels: []*metricsv1.Label{{Name: "part", Value: strconv.Itoa(n)}},
			Samples: []*metricsv1.Sample{{Timestamp: 1, Value: float64(n + 1)}},
		}}
	}
	for _, r := range []*queryv1.QueryResponse{
		{Timeseries: part(0)},
		{Event: &queryv1.QueryResponse_Away{Away: &metricsv1.Away{Groups: []string{"b"}}}},
		{Timeseries: part(1), Cursor: "1", Evaluated: timestamppb.New(time.UnixMilli(1))},
		{Event: &queryv1.QueryResponse_End{End: &metricsv1.End{}}},
	} {
		if err := stream.Send(r); err != nil {
			return err
		}
	}
	return nil
}

func subscribePython(t *testing.T, args ...string) (code int, stdout, stderr []byte) {
	t.Helper()
	python, env := harness.Python(t)
	p := harness.StartEnv(t, "python", env, python, append([]string{harness.File("clients/python/subscribe.py")}, args...)...)
	code = p.Wait(time.Minute)
	return code, p.Stdout().Bytes(), p.Stderr().Bytes()
}

// queried is a server of what queries need.
type queried interface {
	metricsv1connect.MetricsServiceHandler
	queryv1connect.QueryServiceHandler
}

func serveSteps(t *testing.T, s queried) (address string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(metricsv1connect.NewMetricsServiceHandler(s))
	mux.Handle(queryv1connect.NewQueryServiceHandler(s))
	server := httptest.NewUnstartedServer(mux)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
