package promgrpc_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func response(i int) *metricsv1.GetMetricsResponse {
	return &metricsv1.GetMetricsResponse{
		Timeseries: []*metricsv1.TimeSeries{{
			Labels:  []*metricsv1.Label{{Name: "__name__", Value: "n"}},
			Samples: []*metricsv1.Sample{{Value: float64(i), Timestamp: int64(i)}},
		}},
		Cursor: fmt.Sprintf("c%d", i),
	}
}

// after returns the number of the first response that a request asks for.
func after(req *metricsv1.GetMetricsRequest) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(req.GetCursor(), "c"))
	return n + 1
}

func end() *metricsv1.GetMetricsResponse {
	return &metricsv1.GetMetricsResponse{Event: &metricsv1.GetMetricsResponse_End{End: &metricsv1.End{}}}
}

// sequence serves responses 1 to n and the end, and breaks the first call
// after cut responses.
func sequence(n, cut int, fail func() error) metricstest.Script {
	return func(_ context.Context, call *metricstest.Call) error {
		sent := 0
		for i := after(call.Request); i <= n; i++ {
			if call.Number == 0 && sent == cut {
				return fail()
			}
			if err := call.Send(response(i)); err != nil {
				return err
			}
			sent++
		}
		if call.Number == 0 {
			return fail()
		}
		return call.Send(end())
	}
}

func values(t *testing.T, c *promgrpc.Client, q promgrpc.Selection) (got []int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for u, err := range c.Get(ctx, q) {
		require.NoError(t, err)
		require.False(t, u.Rewound)
		for _, series := range u.GetTimeseries() {
			got = append(got, int(series.GetSamples()[0].GetValue()))
		}
	}
	return got
}

func TestGetResumesWhereverTheStreamIsCut(t *testing.T) {
	const n = 4
	cuts := map[string]func() error{
		"connection":  func() error { metricstest.Abort(); return nil },
		"closed":      func() error { return nil },
		"unavailable": func() error { return metricstest.Error(connect.CodeUnavailable, "x") },
		"internal":    func() error { return metricstest.Error(connect.CodeInternal, "x") },
		"canceled":    func() error { return metricstest.Error(connect.CodeCanceled, "x") },
		"unknown":     func() error { return metricstest.Error(connect.CodeUnknown, "x") },
		"exhausted":   func() error { return metricstest.Error(connect.CodeResourceExhausted, "x", retryIn(0)) },
		"deadline":    func() error { return metricstest.Error(connect.CodeDeadlineExceeded, "x") },
	}
	for _, protocol := range protocols {
		for name, fail := range cuts {
			for _, follow := range []bool{false, true} {
				for cut := 0; cut <= n; cut++ {
					t.Run(fmt.Sprintf("%s/%s/follow=%t/%d", protocol, name, follow, cut), func(t *testing.T) {
						server := &metricstest.Server{Script: sequence(n, cut, fail)}
						c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
						require.Equal(t, []int{1, 2, 3, 4}, values(t, c, promgrpc.Selection{Follow: follow, Selectors: []string{"n"}}))

						requests := server.Requests()
						require.Len(t, requests, 2)
						want := ""
						if cut > 0 {
							want = fmt.Sprintf("c%d", cut)
						}
						require.Equal(t, want, requests[1].GetCursor())
						require.Equal(t, []string{"n"}, requests[1].GetSelectors())
						require.Equal(t, follow, requests[1].GetFollow())
					})
				}
			}
		}
	}
}

func TestGetGoesOnAtTheCursorThatADrainingServerHandsOver(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := &metricstest.Server{Script: sequence(5, 2, func() error {
				return metricstest.Error(connect.CodeUnavailable, "draining", &metricsv1.StreamInterrupted{Cursor: "c4"})
			})}
			c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
			require.Equal(t, []int{1, 2, 5}, values(t, c, promgrpc.Selection{Follow: true}))
		})
	}
}

// A stream that is ended for its age is resumed at once, at any address, and without
// a log line. Servers that do so before they have served anything count as failed.
func TestGetMovesWhenItsStreamIsOfAge(t *testing.T) {
	aged := func(cursor string) error {
		return metricstest.Error(connect.CodeUnavailable, "of age", &metricsv1.StreamInterrupted{
			Cursor: cursor, Reason: metricsv1.StreamInterrupted_REASON_MAX_AGE,
		})
	}
	const last = 40
	oneEach := func(_ context.Context, call *metricstest.Call) error {
		i := after(call.Request)
		if err := call.Send(response(i)); err != nil {
			return err
		}
		if i < last {
			return aged(fmt.Sprintf("c%d", i))
		}
		return call.Send(end())
	}
	var want []int
	for i := range last {
		want = append(want, i+1)
	}
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			one, two := &metricstest.Server{Script: oneEach}, &metricstest.Server{Script: oneEach}
			first := one.Start(t)
			var log strings.Builder
			c := newClient(t, protocol, promgrpc.Options{
				Logger: slog.New(slog.NewTextHandler(&log, nil)), MaxReconnects: 1, MinBackoff: time.Hour, MaxBackoff: time.Hour,
			}, first, two.Start(t))
			require.Equal(t, want, values(t, c, promgrpc.Selection{Follow: true}))
			require.Empty(t, log.String())
			require.NotEmpty(t, one.Requests())
			require.NotEmpty(t, two.Requests())

			c = newClient(t, protocol, promgrpc.Options{MaxReconnects: -1}, first)
			for u, err := range c.Get(t.Context(), promgrpc.Selection{Follow: true}) {
				if u.GetMetricsResponse == nil {
					require.Error(t, err, "it is not to open another")
				}
			}

			useless := &metricstest.Server{Script: func(context.Context, *metricstest.Call) error { return aged("") }}
			c = newClient(t, protocol, promgrpc.Options{MaxReconnects: 3}, useless.Start(t))
			for _, err := range c.Get(t.Context(), promgrpc.Selection{Follow: true}) {
				var unreachable *promgrpc.UnreachableError
				require.ErrorAs(t, err, &unreachable)
			}
			require.Len(t, useless.Requests(), 4)
		})
	}
}

func TestGetSaysWhenItRewinds(t *testing.T) {
	server := &metricstest.Server{Script: func(_ context.Context, call *metricstest.Call) error {
		for i := after(call.Request); i <= 4; i++ {
			r := response(i)
			if i == 2 || i == 3 {
				r.Cursor = ""
			}
			if i == 4 && call.Number == 0 {
				metricstest.Abort()
			}
			if err := call.Send(r); err != nil {
				return err
			}
		}
		return call.Send(end())
	}}
	c := newClient(t, promgrpc.ProtocolGRPC, promgrpc.Options{}, server.Start(t))
	var got []string
	for u, err := range c.Get(t.Context(), promgrpc.Selection{}) {
		require.NoError(t, err)
		for _, series := range u.GetTimeseries() {
			got = append(got, fmt.Sprint(series.GetSamples()[0].GetValue(), u.Rewound))
		}
	}
	require.Equal(t, []string{"1 false", "2 false", "3 false", "2 true", "3 false", "4 false"}, got)
}
