package cli

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// TestWatch follows on a terminal until it is interrupted.
func TestWatch(t *testing.T) {
	server := &metricstest.Server{Script: func(ctx context.Context, call *metricstest.Call) error {
		if err := call.Send(&metricsv1.GetMetricsResponse{
			Timeseries: metricstest.Series(), Cursor: "c1", Event: &metricsv1.GetMetricsResponse_Synced{Synced: &metricsv1.Synced{}},
		}); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	var stdout, stderr buffer
	env := environment{stdout: &stdout, stderr: &stderr, terminal: true, size: func() (int, int, error) { return 0, 0, errors.New("none") }}
	ctx, interrupt := context.WithCancelCause(t.Context())
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"get", "--watch", "--address", server.Start(t)}, env) }()
	require.Eventually(t, func() bool { return strings.Contains(stdout.String(), "live, ") }, 20*time.Second, 5*time.Millisecond)
	require.Contains(t, stdout.String(), "native_float_gauge")
	interrupt(errInterrupted)
	require.Equal(t, ExitOK, <-code)
	require.True(t, strings.HasSuffix(stdout.String(), leaveScreen))
	require.Empty(t, stderr.String())

	r := runCLI(t, t.Context(), "get", "--watch")
	require.Equal(t, ExitUsage, r.code)
	require.Contains(t, r.stderr, "--watch needs a terminal")
}

// TestWarningAboveProgress warns of a gap while the line is shown.
func TestWarningAboveProgress(t *testing.T) {
	var stderr buffer
	shown := func() bool { return strings.Contains(stderr.String(), " samples, ") }
	server := &metricstest.Server{Script: func(ctx context.Context, call *metricstest.Call) error {
		for !shown() {
			if err := call.Send(&metricsv1.GetMetricsResponse{Timeseries: []*metricsv1.TimeSeries{float(1, "__name__", "up")}}); err != nil {
				return err
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		gap := &metricsv1.Gap{LogId: "ab", AfterSequence: 3, NextSequence: 9, Reason: "retention"}
		if err := call.Send(&metricsv1.GetMetricsResponse{Event: &metricsv1.GetMetricsResponse_Gap{Gap: gap}}); err != nil {
			return err
		}
		return call.Send(end("c1"))
	}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code := run(ctx, []string{"get", "--progress=always", "--address", server.Start(t)}, environment{stdout: &buffer{}, stderr: &stderr})
	require.Equal(t, ExitOK, code)
	warning := program + ": warning: samples are missing: log ab, after block 3 and before 9: retention\n"
	require.Regexp(t, `^(\r\d+ samples, [^\r\n]*\x1b\[K)+\r\x1b\[K`+regexp.QuoteMeta(warning)+`\r\d+ samples, [^\r\n]*\x1b\[K(\r\d+ samples, [^\r\n]*\x1b\[K)*\r\x1b\[K$`, stderr.String())
}

func TestProgressIsSilentAtFirst(t *testing.T) {
	r := runCLI(t, t.Context(), "get", "-o", "json", "--progress=always", "--address", snapshot().Start(t))
	require.Equal(t, ExitOK, r.code)
	require.Empty(t, r.stderr, "it took less than a second")
}
