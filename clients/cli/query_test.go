package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

const (
	lastStep = 4
	stepTime = 15_000 // ms
)

// resultAt is what evaluating returns for a step.
func resultAt(step int) *queryv1.QueryResponse {
	at := t0 + int64(step)*stepTime
	return &queryv1.QueryResponse{
		Timeseries: []*metricsv1.TimeSeries{
			{Labels: labels("job", "a"), Samples: []*metricsv1.Sample{{Value: float64(step), Timestamp: at}}},
			{Labels: labels("job", "b"), Samples: []*metricsv1.Sample{{Value: float64(-step), Timestamp: at}}},
		},
		Cursor: fmt.Sprint("c", step), Evaluated: timestamppb.New(time.UnixMilli(at)), LateSamples: 1,
		Annotations: []*queryv1.Annotation{
			{Severity: queryv1.Annotation_SEVERITY_INFO, Text: "PromQL info: metric might not be a counter"},
			{Severity: queryv1.Annotation_SEVERITY_WARNING, Text: "something of " + metricstest.Evil},
		},
	}
}

// evaluating serves the steps after the cursor. While following it is quiet after the
// last one, and otherwise it ends.
func evaluating() *metricstest.Server {
	return &metricstest.Server{Query: func(ctx context.Context, call *metricstest.QueryCall) error {
		after, _ := strconv.Atoi(strings.TrimPrefix(call.Request.GetCursor(), "c"))
		for step := after + 1; step <= lastStep; step++ {
			r := resultAt(step)
			if step == lastStep && call.Request.GetFollow() {
				r.Event = &queryv1.QueryResponse_Synced{Synced: &metricsv1.Synced{}}
			}
			if err := call.Send(r); err != nil {
				return err
			}
		}
		if call.Request.GetFollow() {
			<-ctx.Done()
			return ctx.Err()
		}
		return call.Send(&queryv1.QueryResponse{Event: &queryv1.QueryResponse_End{End: &metricsv1.End{}}, Cursor: fmt.Sprint("c", lastStep)})
	}}
}

func TestQueryOutputs(t *testing.T) {
	address := evaluating().Start(t)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{nil, "{job=\"a\"} 1 1700000015123\n{job=\"b\"} -1 1700000015123\n"},
		{[]string{"-o", "json", "--limit=1"}, `{"metric":{"job":"a"},"timestamp":1700000015123,"value":"1"}` + "\n"},
		{[]string{"-o", "json", "--events"}, `{"event":"evaluated","evaluated":1700000060123,"late_samples":1,"annotations":[{"severity":"info","text":"PromQL info: metric might not be a counter"},{"severity":"warning",`},
		{[]string{"-o", "json", "--events"}, `{"event":"end","cursor":"c4"}` + "\n"},
		{[]string{"-o", "csv"}, "1700000015123,1,,\"{job=\"\"a\"\"}\"\r\n"},
		{[]string{"-o", "table"}, "SERIES     VALUE  TIME\n{job=\"a\"}  4      2023-11-14T22:14:20.123Z\n"},
		{[]string{"--template", "{{.Labels.job}}={{.Value}}"}, "a=1\nb=-1\na=2\n"},
		{[]string{"-o", "proto"}, "job"},
		{[]string{"-o", "chart", "--since", "1h"}, "a {job=\"a\"} 4"},
		{[]string{"-o", "openmetrics"}, "# EOF\n"},
	} {
		for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
			r := runCLI(t, t.Context(), append([]string{"query", "rate(up[5m])", "-a", address, "--protocol", protocol}, tc.args...)...)
			require.Equal(t, ExitOK, r.code, r.stderr)
			require.Contains(t, r.stdout, tc.want, "%v", tc.args)
			require.Equal(t, 1, strings.Count(r.stderr, "info: metric might not be a counter\n"), "each is told once")
			require.Equal(t, 1, strings.Count(r.stderr, "warning: something of "))
			if !strings.Contains(strings.Join(tc.args, " "), "--limit") {
				require.Contains(t, r.stderr, "4 samples came too late")
			}
		}
	}
}

func TestQueryAsks(t *testing.T) {
	server := evaluating()
	address := server.Start(t)
	r := runCLI(t, t.Context(), "query", "up", "-a", address, "--since", "1767366245000", "--end", "1767366345.5",
		"--step=1m", "--delay=0s", "--lookback=1h", "--on-change", "--timeout=1s", "--follow", "--heartbeat=3s")
	require.Equal(t, ExitOK, r.code, r.stderr)
	got := server.Queries()[0]
	require.Equal(t, "up", got.GetExpression())
	require.EqualValues(t, 1767366245000, got.GetSince().AsTime().UnixMilli())
	require.EqualValues(t, 1767366345500, got.GetEnd().AsTime().UnixMilli())
	require.Equal(t, time.Minute, got.GetStep().AsDuration())
	require.NotNil(t, got.GetDelay())
	require.Zero(t, got.GetDelay().AsDuration())
	require.Equal(t, time.Hour, got.GetLookback().AsDuration())
	require.True(t, got.GetOnChange())
	require.True(t, got.GetFollow())
	require.Equal(t, 3*time.Second, got.GetHeartbeatInterval().AsDuration())
}

// Each run goes on with the step after the last one that was printed.
func TestQueryCursorFile(t *testing.T) {
	server := evaluating()
	address := server.Start(t)
	file := filepath.Join(t.TempDir(), "cursor")
	require.NoError(t, os.WriteFile(file, []byte(cursorRecord("c2")), 0o600))
	for _, want := range []string{"a=3\na=4\n", ""} {
		r := runCLI(t, t.Context(), "query", "up", "-a", address, "--cursor-file", file,
			"--template", `{{if eq .Labels.job "a"}}a={{.Value}}{{else}}-{{end}}`)
		require.Equal(t, ExitOK, r.code, r.stderr)
		require.Equal(t, want, strings.ReplaceAll(r.stdout, "-\n", ""))
	}
	require.Equal(t, "c2", server.Queries()[0].GetCursor())
	require.Equal(t, "c4", server.Queries()[1].GetCursor())
}

func TestQueryPointsAtMistakes(t *testing.T) {
	for _, tc := range []struct {
		expression string
		start, end uint32
		want       string
	}{
		{"sum(up))", 7, 8, "  sum(up))\n         ^\n"},
		{"sum(", 4, 4, "  sum(\n      ^\n"},
		{"up +\n  räte(x[5m])\n+ 1", 7, 12, "    räte(x[5m])\n    ^^^^\n"},
		{"a", 7, 9, "  a\n   ^\n"},
		{strings.Repeat("x", 200) + " + oops(" + strings.Repeat("y", 200), 203, 207,
			"  …" + strings.Repeat("x", 47) + " + oops(" + strings.Repeat("y", 21) + "…\n" + strings.Repeat(" ", 53) + "^^^^\n"},
	} {
		for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
			server := &metricstest.Server{Query: func(context.Context, *metricstest.QueryCall) error {
				return metricstest.Error(connect.CodeInvalidArgument, "unexpected thing", &queryv1.InvalidExpression{Start: tc.start, End: tc.end})
			}}
			r := runCLI(t, t.Context(), "query", tc.expression, "-a", server.Start(t), "--protocol", protocol)
			require.Equal(t, ExitFailure, r.code)
			require.Equal(t, program+": error: unexpected thing\n"+tc.want, r.stderr)
			require.Empty(t, r.stdout)
		}
	}
}

func TestQueryRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"required argument 'expression'":            {},
		"--output chart needs --since or --follow":  {"up", "-o", "chart"},
		"chart and --cursor-file exclude":           {"up", "-o", "chart", "--cursor-file", "f"},
		"--step must be positive":                   {"up", "--step=0s"},
		"--end: want a duration":                    {"up", "--end=never"},
		"--watch needs a terminal":                  {"up", "--watch"},
		"--events needs --output json":              {"up", "--events"},
		"--cursor and --since exclude each other":   {"up", "--cursor=c", "--since=1m"},
		"enum value must be one of text,table,json": {"up", "-o", "pictures"},
	} {
		r := runCLI(t, t.Context(), append([]string{"query"}, args...)...)
		require.Equal(t, ExitUsage, r.code, "%v", args)
		require.Contains(t, r.stderr, want)
	}
	t.Setenv("PROMGRPC_CLIENT_OUTPUT", "chart") // is for other calls
	require.Equal(t, ExitOK, runCLI(t, t.Context(), "get", "-a", snapshot().Start(t)).code)
}

// TestQueryInPlace follows on a terminal until it is interrupted, with a table and with
// a chart. Nobody steers the terminal.
func TestQueryInPlace(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"--watch"}, "CHANGE"},
		{[]string{"--follow", "--output=chart"}, "UTC"},
		{[]string{"--watch", "--output=chart"}, "UTC"},
	} {
		var stdout, stderr buffer
		env := environment{
			stdout: &stdout, stderr: &stderr, terminal: true, messagesTerminal: true, colour: true, unicode: true,
			size: func() (int, int, error) { return 0, 0, errors.New("none") },
		}
		ctx, interrupt := context.WithCancelCause(t.Context())
		code := make(chan int, 1)
		go func() {
			code <- run(ctx, append([]string{"query", "up", "-a", evaluating().Start(t)}, tc.args...), env)
		}()
		require.Eventually(t, func() bool { return strings.Contains(stdout.String(), "live, 2 series, 8 samples") }, 20*time.Second, 5*time.Millisecond)
		interrupt(errInterrupted)
		require.Equal(t, ExitOK, <-code)
		require.Contains(t, stdout.String(), tc.want)
		require.True(t, strings.HasPrefix(stdout.String(), enterScreen))
		require.True(t, strings.HasSuffix(stdout.String(), leaveScreen))
		require.NotContains(t, stdout.String(), "\x1b]0;title\a")
	}
}

// In a pipe a chart is printed once, at the end.
func TestChartInAPipe(t *testing.T) {
	ctx, interrupt := context.WithCancelCause(t.Context())
	server := evaluating()
	script := server.Query
	server.Query = func(ctx context.Context, call *metricstest.QueryCall) error {
		go func() {
			<-time.After(300 * time.Millisecond)
			interrupt(errInterrupted)
		}()
		return script(ctx, call)
	}
	r := runCLI(t, ctx, "query", "up", "-a", server.Start(t), "--follow", "-o", "chart")
	require.Equal(t, ExitOK, r.code, r.stderr)
	require.Equal(t, 1, strings.Count(r.stdout, "UTC"))
	require.NotContains(t, r.stdout, "\x1b")
}

func TestLocales(t *testing.T) {
	for _, tc := range []struct {
		all, ctype, lang string
		want             bool
	}{
		{"", "", "", false}, {"", "", "en_US.UTF-8", true}, {"", "", "de_DE.utf8", true}, {"C", "", "en_US.UTF-8", false},
		{"", "C.UTF-8", "C", true}, {"", "", "de_DE.ISO-8859-1", false},
	} {
		values := map[string]string{"LC_ALL": tc.all, "LC_CTYPE": tc.ctype, "LANG": tc.lang}
		require.Equal(t, tc.want, hasUnicode(func(name string) string { return values[name] }), "%+v", tc)
	}
}
