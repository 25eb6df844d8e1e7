package cli

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[a-zA-Z]`)

// screen is what the last drawing shows, line by line.
func screen(drawn string) []string {
	last := drawn[strings.LastIndex(drawn, home)+len(home):]
	last = strings.ReplaceAll(last, clearBelow, "")
	return strings.Split(escapes.ReplaceAllString(last, ""), "\r\n")
}

func TestLiveTable(t *testing.T) {
	var b buffer
	width, height := 0, 0
	l := newLiveTable(&b, func() (int, int, error) { return width, height, nil }, false)
	l.mu.Lock()
	l.now = func() time.Time { return time.UnixMilli(t0 + 3000) }
	l.mu.Unlock()
	at := func(s *metricsv1.TimeSeries, ms int64) *metricsv1.TimeSeries {
		s.Samples[0].Timestamp = ms
		return s
	}
	require.NoError(t, l.series([]*metricsv1.TimeSeries{
		at(float(5, "__name__", "requests_total", "job", "a"), t0-1000),
		at(float(25, "__name__", "requests_total", "job", "a"), t0+1000),
		at(float(1, "__name__", "up", "instance", strings.Repeat("long", 20)), t0),
		at(float(7, "__name__", "odd", "a", "\x1b[2J\r\u009b"), t0),
		at(float(stale, "__name__", "gone"), t0-180_000),
	}))
	_, err := l.Write([]byte("stream lost\n"))
	require.NoError(t, err)
	for _, tc := range []struct {
		width, height int
		want          []string
	}{
		{60, 7, []string{
			"SERIES                                      VALUE  RATE  AGE",
			`odd{a="\u001b[2J\r\u009b"}                      7     -   3s`,
			`requests_total{job="a"}                        25  10/s   2s`,
			`up{instance="longlonglonglonglonglongl…         1     -   3s`,
			"gone                                     StaleNaN     -   3m",
			"connecting, 4 series, 5 samples; stream lost",
		}},
		{40, 4, []string{
			"SERIES                  VALUE  RATE  AGE",
			`odd{a="\u001b[2J\r\u0…      7     -   3s`,
			`requests_total{job="a…     25  10/s   2s`,
			"connecting, 4 series, 5 samples, 2 more…",
		}},
	} {
		l.mu.Lock()
		width, height = tc.width, tc.height
		drawn := string(l.draw())
		l.mu.Unlock()
		require.Equal(t, tc.want, trimmed(screen(drawn)), "%d x %d", tc.width, tc.height)
	}
	l.stop()
	require.True(t, strings.HasPrefix(b.String(), enterScreen))
	require.True(t, strings.HasSuffix(b.String(), leaveScreen))
}

func trimmed(lines []string) []string {
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

// TestWatch follows on a terminal until it is interrupted.
func TestWatch(t *testing.T) {
	server := &metricstest.Server{Script: func(ctx context.Context, call *metricstest.Call) error {
		if err := call.Send(&metricsv1.GetMetricsResponse{
			Timeseries: fixture(), Cursor: "c1", Event: &metricsv1.GetMetricsResponse_Synced{Synced: &metricsv1.Synced{}},
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

func TestProgress(t *testing.T) {
	var b buffer
	p := newProgress(&b, new(time.UnixMilli(t0-90_000)))
	begin := time.UnixMilli(t0)
	now := begin
	p.now = func() time.Time { return now }
	p.began, p.told = begin, begin.Add(progressAfter-progressEvery)
	u := promgrpc.Update{GetMetricsResponse: &metricsv1.GetMetricsResponse{Timeseries: []*metricsv1.TimeSeries{float(1, "__name__", "up")}}}
	p.update(u)
	require.Empty(t, b.String(), "silent at first")
	now = begin.Add(10 * time.Second)
	p.update(u)
	p.update(u)
	require.Equal(t, "\r2 samples, 0 a second, up to 2023-11-14T22:13:20Z, 90 %\x1b[K", b.String())
	p.update(promgrpc.Update{GetMetricsResponse: &metricsv1.GetMetricsResponse{Timeseries: []*metricsv1.TimeSeries{
		{Histograms: []*metricsv1.Histogram{{Timestamp: t0 + 10_000}}},
	}}})
	require.Contains(t, p.line(now), "up to 2023-11-14T22:13:30Z, 100 %")
	p.clear()
	require.True(t, strings.HasSuffix(b.String(), "\r\x1b[K"))
	_, err := p.Write([]byte("after it\n"))
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(b.String(), "\r\x1b[Kafter it\n"))

	r := runCLI(t, t.Context(), "get", "-o", "json", "--progress=always", "--address", snapshot().Start(t))
	require.Equal(t, ExitOK, r.code)
	require.Empty(t, r.stderr, "it took less than a second")
}

// TestWarningAboveProgress has a gap told while the line is shown.
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
