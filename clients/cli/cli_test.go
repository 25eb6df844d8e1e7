package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func failing(code connect.Code, message string) metricstest.Script {
	return func(context.Context, *metricstest.Call) error { return metricstest.Error(code, message) }
}

func TestExitCodes(t *testing.T) {
	closed := refusing(t)
	alive := snapshot().Start(t)
	selector := (&metricstest.Server{Script: failing(connect.CodeInvalidArgument,
		"selector 1 does not parse: unexpected end of input\n  up{job=\n         ^")}).Start(t)
	gone := (&metricstest.Server{Script: func(context.Context, *metricstest.Call) error {
		return metricstest.Error(connect.CodeOutOfRange, "cursor is older than the log", &metricsv1.CursorOutOfRange{OldestCursor: "c9"})
	}}).Start(t)
	unimplemented := (&metricstest.Server{Script: failing(connect.CodeUnimplemented, "unknown method")}).Start(t)
	silent := (&metricstest.Server{Script: func(ctx context.Context, _ *metricstest.Call) error {
		<-ctx.Done()
		return ctx.Err()
	}}).Start(t)
	// Each has just started when asked.
	killed := (&mortal{}).start(t) + "," + (&mortal{}).start(t)

	for _, tc := range []struct {
		name   string
		args   []string
		code   int
		stderr string
	}{
		{"ok", []string{"get", "-a", alive}, 0, ""},
		{"help", []string{"get", "--help"}, 0, ""},
		{"version", []string{"--version"}, 0, ""},
		{"second server", []string{"get", "-a", closed + "," + alive}, 0, "stream resumed"},
		{"no command", nil, 2, "usage:"},
		{"unknown command", []string{"fetch"}, 2, `expected command but got "fetch"; try --help`},
		{"unknown flag", []string{"get", "--floow"}, 2, "try --help"},
		{"unknown protocol", []string{"get", "--protocol=soap"}, 2, "try --help"},
		{"bad address", []string{"get", "-a", "localhost"}, 2, "want host:port"},
		{"bad time", []string{"get", "--since=yesterday"}, 2, "want a duration such as 10m"},
		{"two starts", []string{"get", "--since=1m", "--cursor=c"}, 2, "exclude each other"},
		{"events without json", []string{"get", "--events"}, 2, "--events needs --output json"},
		{"connection refused", []string{"get", "-a", closed}, 3,
			"cannot reach " + closed + ": connection refused; is the server running? try --address"},
		{"connection refused, following", []string{"get", "-f", "-a", closed}, 3, "connection refused"},
		{"connection refused by a call", []string{"labels", "-a", closed}, 3, "connection refused"},
		{"one of two without status", []string{"status", "-a", closed}, 3, "connection refused"},
		{"cursor out of range", []string{"get", "--cursor=c1", "-a", gone}, 4,
			"cursor is older than the log; the oldest that the server has is --cursor c9"},
		{"servers die", []string{"get", "-a", killed}, 5, "2 servers died while they answered this call"},
		{"servers die, following", []string{"get", "-f", "-a", killed}, 5, "it is not repeated"},
		{"broken selector", []string{"get", "up{job=", "-a", selector}, 1,
			"invalid argument:\nselector 1 does not parse: unexpected end of input\n  up{job=\n         ^\n"},
		{"other service", []string{"get", "-a", unimplemented}, 1, "is this the RPC port of a MetricsService?"},
		{"timeout", []string{"get", "--timeout=50ms", "-a", silent}, 1, "--timeout"},
		{"timeout while following", []string{"get", "-f", "--timeout=50ms", "-a", silent}, 0, ""},
		{"no file", []string{"inspect", "testdata/none"}, 1, "no such file"},
	} {
		for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
			t.Run(tc.name+"/"+protocol, func(t *testing.T) {
				t.Setenv("PROMGRPC_CLIENT_PROTOCOL", protocol)
				r := runCLI(t, t.Context(), tc.args...)
				require.Equal(t, tc.code, r.code, r.stderr)
				require.Contains(t, r.stderr, tc.stderr)
			})
		}
	}
}

func TestBrokenFlagsOfTLS(t *testing.T) {
	for _, args := range [][]string{
		{"--tls-ca-file=testdata/none"}, {"--tls-ca-file=cli_test.go"}, {"--tls-cert-file=x"}, {"--tls-cert-file=x", "--tls-key-file=y"},
	} {
		r := runCLI(t, t.Context(), append([]string{"get"}, args...)...)
		require.Equal(t, 2, r.code)
		flag, _, _ := strings.Cut(args[0], "=")
		require.Contains(t, r.stderr, flag)
	}
	r := runCLI(t, t.Context(), "get", "--tls", "-a", snapshot().Start(t))
	require.Equal(t, 3, r.code)
	require.Contains(t, r.stderr, "does the server speak TLS?")
}

// counting sends a sample each time it is called until the context ends; the
// cursor counts them.
func counting(n int) *metricstest.Server {
	return &metricstest.Server{Script: func(ctx context.Context, call *metricstest.Call) error {
		i, _ := strconv.Atoi(strings.TrimPrefix(call.Request.GetCursor(), "c"))
		for k := 0; k < n; k++ {
			i++
			if err := call.Send(&metricsv1.GetMetricsResponse{
				Timeseries: []*metricsv1.TimeSeries{float(float64(i), "__name__", "n")}, Cursor: fmt.Sprintf("c%d", i),
			}); err != nil {
				return err
			}
		}
		if !call.Request.GetFollow() {
			return call.Send(end(fmt.Sprintf("c%d", i)))
		}
		<-ctx.Done()
		return ctx.Err()
	}}
}

func TestFollowEndsWellWhenInterrupted(t *testing.T) {
	for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
		t.Run(protocol, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "cursor")
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var stdout, stderr buffer
			done := make(chan int)
			go func() {
				done <- run(ctx, []string{"get", "-f", "-a", counting(3).Start(t), "--protocol", protocol, "--cursor-file", file},
					environment{stdout: &stdout, stderr: &stderr})
			}()
			require.Eventually(t, func() bool { return strings.Count(stdout.String(), "\n") == 3 }, 30*time.Second, time.Millisecond,
				"each response is flushed")
			start := time.Now()
			cancel(errInterrupted)
			require.Equal(t, 0, <-done)
			require.Less(t, time.Since(start), 10*time.Second)
			require.Empty(t, stderr.String())
			cursor, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, cursorRecord("c3"), string(cursor))
		})
	}
}

func TestCursorFileResumes(t *testing.T) {
	for _, output := range []string{"text", "openmetrics"} {
		t.Run(output, func(t *testing.T) {
			server := counting(2)
			server.Metadata = &metricsv1.GetMetadataResponse{}
			args := []string{"get", "-a", server.Start(t), "-o", output, "--cursor-file", filepath.Join(t.TempDir(), "cursor"), "--since=1h"}
			r := runCLI(t, t.Context(), args...)
			require.Equal(t, 0, r.code, r.stderr)
			require.Contains(t, r.stdout, "n 1 ")
			r = runCLI(t, t.Context(), args...)
			require.NotContains(t, r.stdout, "n 2 ")
			require.Contains(t, r.stdout, "n 3 ")
			requests := server.Requests()
			require.NotNil(t, requests[0].GetSince())
			require.Equal(t, "c2", requests[1].GetCursor())
		})
	}
}

func TestCursorFileIsNeverAheadOfTheOutput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cursor")
	require.NoError(t, os.WriteFile(file, []byte(cursorRecord("c7")), 0o600))
	var stderr buffer
	code := run(t.Context(), []string{"get", "-a", counting(2).Start(t), "--cursor-file", file},
		environment{stdout: brokenPipe{}, stderr: &stderr})
	require.Equal(t, 0, code, "a closed pipe is no failure")
	require.Empty(t, stderr.String())
	cursor, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, cursorRecord("c7"), string(cursor))
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
}

func TestLimit(t *testing.T) {
	address := snapshot().Start(t)
	for _, n := range []int{1, 5, 21, 1000} {
		r := runCLI(t, t.Context(), "get", "-a", address, "-o", "json", "--limit", strconv.Itoa(n))
		require.Equal(t, 0, r.code)
		r.stdout = regexp.MustCompile(`(?m)^.*"exemplar".*\n`).ReplaceAllString(r.stdout, "")
		require.Equal(t, min(n, len(metricstest.Series())), strings.Count(r.stdout, "\n"))
	}
	r := runCLI(t, t.Context(), "get", "-f", "-a", counting(3).Start(t), "--limit=2")
	require.Equal(t, "n 1 1700000000123\nn 2 1700000000123\n", r.stdout)
}

func TestEvents(t *testing.T) {
	server := &metricstest.Server{Script: func(_ context.Context, call *metricstest.Call) error {
		for _, r := range []*metricsv1.GetMetricsResponse{
			{Event: &metricsv1.GetMetricsResponse_Synced{Synced: &metricsv1.Synced{}}, Cursor: "c1"},
			{Event: &metricsv1.GetMetricsResponse_Heartbeat{Heartbeat: &metricsv1.Heartbeat{}}, Cursor: "c2"},
			{Event: &metricsv1.GetMetricsResponse_Gap{Gap: &metricsv1.Gap{LogId: "ab", AfterSequence: 3, NextSequence: 9, Reason: "retention"}}},
			{Event: &metricsv1.GetMetricsResponse_Away{Away: &metricsv1.Away{Groups: []string{"a", "b"}}}},
			{Event: &metricsv1.GetMetricsResponse_Away{Away: &metricsv1.Away{}}},
			end("c3"),
		} {
			if err := call.Send(r); err != nil {
				return err
			}
		}
		return nil
	}}
	r := runCLI(t, t.Context(), "get", "-f", "-a", server.Start(t), "-o", "json", "--events")
	require.Equal(t, `{"event":"synced","cursor":"c1"}
{"event":"heartbeat","cursor":"c2"}
{"event":"gap","log_id":"ab","after_sequence":3,"next_sequence":9,"reason":"retention"}
{"event":"away","groups":["a","b"]}
{"event":"away","groups":[]}
{"event":"end","cursor":"c3"}
`, r.stdout)
	require.Contains(t, r.stderr, "warning: no server answers of: a, b. What they have comes when they are back")
	require.Contains(t, r.stderr, "warning: all groups answer again")
	require.Contains(t, r.stderr, "warning: samples are missing: log ab, after block 3 and before 9: retention")
}

func TestGetPassesItsFlagsOn(t *testing.T) {
	server := counting(1)
	address := server.Start(t)
	t.Setenv("PROMGRPC_CLIENT_ADDRESS", address)
	t.Setenv("PROMGRPC_CLIENT_MIN_INTERVAL", "5s")
	r := runCLI(t, t.Context(), "get", "up", `{job="x"}`, "--follow", "--heartbeat=2s", "--since=2026-01-02T03:04:05Z", "--limit=1", "--when-away=refuse")
	require.Equal(t, 0, r.code, r.stderr)
	req := server.Requests()[0]
	require.Equal(t, []string{"up", `{job="x"}`}, req.GetSelectors())
	require.True(t, req.GetFollow())
	require.Equal(t, 5*time.Second, req.GetMinInterval().AsDuration())
	require.Equal(t, 2*time.Second, req.GetHeartbeatInterval().AsDuration())
	require.Equal(t, metricsv1.WhenAway_WHEN_AWAY_REFUSE, req.GetWhenAway())
	require.Equal(t, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), req.GetSince().AsTime())
}

// TestEnvironmentOfOtherCalls sets variables that are meant for some calls and would
// be wrong on the command line of others.
func TestEnvironmentOfOtherCalls(t *testing.T) {
	server := counting(1)
	server.LabelNames = &metricsv1.GetLabelNamesResponse{Names: []string{"job"}}
	server.LabelValues = &metricsv1.GetLabelValuesResponse{Values: []string{"node"}}
	server.Metadata, server.Segments, server.Status = metricstest.Metadata(), &metricsv1.ListSegmentsResponse{}, &metricsv1.GetStatusResponse{}
	t.Setenv("PROMGRPC_CLIENT_ADDRESS", server.Start(t))
	const csv, json, text = "timestamp,value,name,labels", "{\"", "n "
	line := "--template={{.Name}}="
	for _, tc := range []struct {
		env  []string // name, value, …
		args []string
		code int
		want string // of what is printed
	}{
		{[]string{"OUTPUT", "csv"}, []string{"get"}, 0, csv},
		{[]string{"OUTPUT", "csv"}, []string{"labels"}, 0, "job\n"},
		{[]string{"OUTPUT", "proto"}, []string{"metadata"}, 0, "FAMILY"},
		{[]string{"OUTPUT", "table"}, []string{"segments"}, 0, ""},
		{[]string{"OUTPUT", "openmetrics"}, []string{"status"}, 0, "not ready"},
		{[]string{"OUTPUT", "json"}, []string{"labels"}, 0, json},
		{[]string{"OUTPUT", "json"}, []string{"labels", "-o", "text"}, 0, "job\n"},
		{[]string{"OUTPUT", "jsn"}, []string{"labels"}, 2, "got 'jsn'"},
		{nil, []string{"labels", "-o", "csv"}, 2, "got 'csv'"},
		{[]string{"OUTPUT", "csv"}, []string{"get", line}, 0, "n="},
		{[]string{"OUTPUT", "csv", "TEMPLATE", "{{.Name}}="}, []string{"get"}, 0, "n="},
		{[]string{"TEMPLATE", "{{.Name}}="}, []string{"get", "-o", "csv"}, 0, csv},
		{nil, []string{"get", line, "-o", "text"}, 2, "exclude each other"},
		{[]string{"EVENTS", "true"}, []string{"get"}, 0, text},
		{[]string{"EVENTS", "true"}, []string{"get", "-o", "json"}, 0, `{"event":"end"`},
		{[]string{"MIN_INTERVAL", "5s"}, []string{"get"}, 0, text},
		{nil, []string{"get", "--min-interval=5s"}, 2, "--min-interval needs --follow"},
		{[]string{"LIMIT", "0"}, []string{"labels"}, 0, "job\n"},
		{[]string{"LIMIT", "1000000"}, []string{"labels", "job"}, 0, "node\n"},
		{[]string{"OUTPUT", "csv", "KEYFRAME", "true"}, []string{"inspect", "testdata/none"}, 1, "no such file"},
		{nil, []string{"inspect", "testdata/none", "-o", "csv"}, 2, "need --samples"},
	} {
		t.Run(strings.Join(append(tc.env, tc.args...), " "), func(t *testing.T) {
			for i := 0; i < len(tc.env); i += 2 {
				t.Setenv(variable(tc.env[i]), tc.env[i+1])
			}
			r := runCLI(t, t.Context(), tc.args...)
			require.Equal(t, tc.code, r.code, r.stderr)
			require.Contains(t, r.stdout+r.stderr, tc.want)
		})
	}
}

func TestCalls(t *testing.T) {
	created := timestamppb.New(time.UnixMilli(t0))
	server := &metricstest.Server{
		LabelNames:  &metricsv1.GetLabelNamesResponse{Names: []string{"__name__", "job"}, Truncated: true},
		LabelValues: &metricsv1.GetLabelValuesResponse{Values: []string{"node", "a\"b"}},
		Metadata:    metricstest.Metadata(),
		Segments: &metricsv1.ListSegmentsResponse{Segments: []*metricsv1.Segment{
			{LogId: "0123456789abcdef0123456789abcdef", Name: "a.seg", FirstSequence: 1, LastSequence: 99, CreateTime: created, SizeBytes: 1 << 21, Sealed: true, Archived: true, Remote: true},
			{LogId: "0123456789abcdef0123456789abcdef", Name: "b.seg", FirstSequence: 100, LastSequence: 99, CreateTime: created, SizeBytes: 64},
		}},
	}
	address := server.Start(t)
	for name, args := range map[string][]string{
		"labels.text": {"labels"}, "labels.json": {"labels", "-o", "json", "{}"},
		"values.text": {"labels", "job", "up"}, "values.json": {"labels", "-o", "json", "job"},
		"metadata.text": {"metadata"}, "metadata.json": {"metadata", "-o", "json"},
		"segments.text": {"segments"}, "segments.json": {"segments", "-o", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, t.Context(), append(args, "--address", address)...)
			require.Equal(t, 0, r.code, r.stderr)
			metricstest.Golden(t, name, []byte(r.stdout))
			require.Equal(t, strings.HasPrefix(name, "labels"), strings.Contains(r.stderr, "there is more than these 2"))
		})
	}
}

func TestStatus(t *testing.T) {
	at := time.UnixMilli(t0)
	server := &metricstest.Server{Status: &metricsv1.GetStatusResponse{
		Instance: "server-1", Version: "1.2.3", StartTime: timestamppb.New(at), Ready: true, Cursor: "abc", LiveSeries: 12, Streams: 2, Group: "a", PlacementVersion: 4,
		Logs: []*metricsv1.LogStatus{{
			LogId: "0123456789abcdef0123456789abcdef", FirstSequence: 1, LastSequence: 99, Connected: true, LagBlocks: 1,
			ReceiveTime: timestamppb.New(at.Add(time.Minute)), Series: 14, SizeBytes: 123456, Group: "a", PlacementVersion: 4,
		}, {LogId: "00", FirstSequence: 1}},
		Listeners: []*metricsv1.Listener{
			{Name: "rpc", Address: "[::]:8090", Tls: true, ClientCertificates: true, Passwords: true, Policies: true},
			{Name: "web", Address: "[::]:8080", Exposed: true}, {Name: "link", Address: "127.0.0.1:8070"},
		},
	}}
	address := server.Start(t)
	r := runCLI(t, t.Context(), "status", "-a", address, "-o", "json")
	require.Equal(t, 0, r.code, r.stderr)
	metricstest.Golden(t, "status.json", []byte(strings.ReplaceAll(r.stdout, address, "ADDRESS")))

	var text buffer
	require.NoError(t, printStates(&text, []state{newState("a:1", server.Status), newState("b:2", &metricsv1.GetStatusResponse{})}, at.Add(62*time.Second)))
	metricstest.Golden(t, "status.text", []byte(text.String()))

	r = runCLI(t, t.Context(), "status", "-a", "127.0.0.1:1,"+address)
	require.Equal(t, 3, r.code)
	require.Contains(t, r.stdout, "server-1", "those that answer are printed")
}

// The state of a router says which servers its groups have.
func TestStatusOfGroups(t *testing.T) {
	server := &metricstest.Server{Status: &metricsv1.GetStatusResponse{
		Instance: "router-1", Version: "1.2.3", Ready: true, PlacementVersion: 4,
		Groups: []*metricsv1.GroupStatus{
			{Name: "a", PlacementVersion: 4, LogIds: []string{"00", "01"}, Servers: []*metricsv1.GroupServer{
				{Address: "10.0.0.1:8090", Instance: "server-1", Ready: true}, {Address: "10.0.0.2:8090", Error: "connection refused"},
			}},
			{Name: "b", Away: true},
			{Name: "c", Silent: true, Servers: []*metricsv1.GroupServer{{Address: "10.0.0.3:8090", Instance: "server-3", Ready: true}}},
		},
	}}
	address := server.Start(t)
	for name, args := range map[string][]string{"status.groups.text": nil, "status.groups.json": {"-o", "json"}} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, t.Context(), append([]string{"status", "-a", address}, args...)...)
			require.Equal(t, 0, r.code, r.stderr)
			metricstest.Golden(t, name, []byte(strings.ReplaceAll(r.stdout, address, "ADDRESS")))
		})
	}
}

func TestHelpIntoClosedPipe(t *testing.T) {
	require.Equal(t, ExitOK, run(t.Context(), []string{"get", "--help"}, environment{stdout: brokenPipe{}, stderr: brokenPipe{}}))
}

// TestOutputThatFailsWhenClosed is on a file system that reports late, as NFS does,
// that it could not store what was written.
func TestOutputThatFailsWhenClosed(t *testing.T) {
	t.Setenv("PROMGRPC_CLIENT_ADDRESS", snapshot().Start(t))
	for _, args := range [][]string{{"get"}, {"metadata"}, {"manual"}, {"--version"}} {
		var stdout, stderr buffer
		code := run(t.Context(), args, environment{
			stdout: &stdout, stderr: &stderr, close: func() error { return syscall.ENOSPC },
		})
		require.NotEmpty(t, stdout.String(), args)
		require.Equal(t, ExitFailure, code, args)
		require.Contains(t, stderr.String(), "error: standard output: no space left on device", args)
	}
}
