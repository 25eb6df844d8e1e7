package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// sgr matches the program's own sequences.
var sgr = regexp.MustCompile("\x1b\\[[0-9]+m")

// hostile is a server that sends metricstest.Evil everywhere, and whose stream ends with err.
func hostile(err error) *metricstest.Server {
	series := func(pairs ...string) *metricsv1.TimeSeries {
		s := float(1, pairs...)
		s.Exemplars = []*metricsv1.Exemplar{{Labels: labels(metricstest.Evil, metricstest.Evil), Value: 1, Timestamp: t0}}
		return s
	}
	return &metricstest.Server{
		LabelNames:  &metricsv1.GetLabelNamesResponse{Names: []string{metricstest.Evil}},
		LabelValues: &metricsv1.GetLabelValuesResponse{Values: []string{metricstest.Evil, "a\nb\tc\\d"}},
		Metadata: &metricsv1.GetMetadataResponse{Metadata: []*metricsv1.MetricMetadata{
			{MetricFamilyName: "requests", Type: metricsv1.MetricType_METRIC_TYPE_COUNTER, Help: metricstest.Evil, Unit: metricstest.Evil},
			{MetricFamilyName: metricstest.Evil, Help: metricstest.Evil, Unit: metricstest.Evil},
		}},
		Segments: &metricsv1.ListSegmentsResponse{Segments: []*metricsv1.Segment{{LogId: metricstest.Evil, Name: metricstest.Evil}}},
		Status: &metricsv1.GetStatusResponse{
			Instance: metricstest.Evil, Version: metricstest.Evil, Cursor: metricstest.Evil, Logs: []*metricsv1.LogStatus{{LogId: metricstest.Evil}},
		},
		Script: func(_ context.Context, call *metricstest.Call) error {
			gap := &metricsv1.GetMetricsResponse_Gap{Gap: &metricsv1.Gap{LogId: metricstest.Evil, Reason: metricstest.Evil}}
			if sendErr := call.Send(&metricsv1.GetMetricsResponse{Event: gap, Timeseries: []*metricsv1.TimeSeries{
				series("__name__", "requests_total", "a", metricstest.Evil), series("__name__", metricstest.Evil, metricstest.Evil, "a\tb\nc"),
			}}); sendErr != nil {
				return sendErr
			}
			if err != nil {
				return err
			}
			return call.Send(end("c1"))
		},
	}
}

// TestTerminalIsNotSteered has a server whose text would control a terminal, on
// standard output and on standard error, whichever of them is a terminal. A file gets
// the bytes.
func TestTerminalIsNotSteered(t *testing.T) {
	well := hostile(nil).Start(t)
	refusing := hostile(metricstest.Error(connect.CodeInvalidArgument, "selector: "+metricstest.Evil+"\n  ^ here")).Start(t)
	denying := hostile(metricstest.Error(connect.CodePermissionDenied, metricstest.Evil)).Start(t)
	file := filepath.Join(t.TempDir(), "a.seg")
	require.NoError(t, os.WriteFile(file, segmentBytes(t), 0o600))

	for _, tc := range []struct {
		args []string
		// raw says that a file as standard output, or standard error, gets metricstest.Evil
		// unescaped.
		rawOut, rawErr bool
	}{
		{[]string{"get", "-a", well}, true, true},
		{[]string{"get", "-a", well, "-o", "table"}, true, true},
		{[]string{"get", "-a", well, "-o", "json", "--events"}, false, true}, // JSON has escapes of its own
		{[]string{"get", "-a", well, "-o", "openmetrics"}, true, true},
		{[]string{"get", "-a", well, "-o", "csv"}, true, true},
		{[]string{"get", "-a", well, "-o", "proto"}, true, true},
		{[]string{"get", "-a", well, "--template", "{{.Labels.a}}"}, true, true},
		{[]string{"get", "-a", well, "--progress=always"}, true, true},
		{[]string{"get", "-a", refusing}, true, true},
		{[]string{"get", "-a", denying}, true, true},
		{[]string{"labels", "-a", well}, true, false},
		{[]string{"labels", "job", "-a", well}, true, false},
		{[]string{"labels", "job", "-a", well, "-o", "json"}, false, false},
		{[]string{"metadata", "-a", well}, true, false},
		{[]string{"segments", "-a", well}, true, false},
		{[]string{"status", "-a", well}, true, false},
		{[]string{"inspect", file + metricstest.Evil}, false, true},
		{[]string{"get", "-a", metricstest.Evil + ":1"}, false, true},
		{[]string{"get", "--since", metricstest.Evil}, false, false}, // it is not repeated
	} {
		for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
			for _, terminal := range []struct{ out, err bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
				t.Setenv("PROMGRPC_CLIENT_PROTOCOL", protocol)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				var stdout, stderr buffer
				run(ctx, tc.args, environment{
					stdout: &stdout, stderr: &stderr, terminal: terminal.out, colour: terminal.out, messagesTerminal: terminal.err,
				})
				cancel()
				about := strings.ReplaceAll(strings.Join(tc.args, " "), metricstest.Evil, "EVIL") + " " + protocol
				for _, stream := range []struct {
					name, text    string
					terminal, raw bool
				}{{"stdout", stdout.String(), terminal.out, tc.rawOut}, {"stderr", stderr.String(), terminal.err, tc.rawErr}} {
					if stream.terminal {
						metricstest.RequireCalm(t, sgr.ReplaceAllString(stream.text, ""), about+" "+stream.name)
					} else if stream.raw {
						require.Contains(t, stream.text, "\x1b]0;title\a", about+" "+stream.name)
					}
				}
			}
		}
	}
}

// TestLineBreaksInValues has values whose line breaks and tabs must not start lines
// and columns.
func TestLineBreaksInValues(t *testing.T) {
	address := hostile(nil).Start(t)
	r := runCLI(t, t.Context(), "labels", "job", "-a", address)
	require.Equal(t, metricstest.Evil+"\n"+`a\nb`+"\tc"+`\\d`+"\n", r.stdout)
	r = runCLI(t, t.Context(), "get", "-o", "table", "-a", address)
	require.Contains(t, r.stdout, `="a\tb\nc"}`)
	server := hostile(nil)
	server.Metadata.Metadata = server.Metadata.Metadata[:1]
	server.Metadata.Metadata[0].Help = "a\tb\vc\fd\ne\\"
	server.Status.Instance = "one\ntwo: fine"
	address = server.Start(t)
	r = runCLI(t, t.Context(), "metadata", "-a", address)
	require.Equal(t, 2, strings.Count(r.stdout, "\n"))
	require.Contains(t, r.stdout, `  a\tb\vc\fd\ne\\`+"\n")
	r = runCLI(t, t.Context(), "status", "-a", address)
	require.Contains(t, r.stdout, `one\ntwo: fine`)
}

// TestJSONOnATerminal is still the same JSON.
func TestJSONOnATerminal(t *testing.T) {
	var b buffer
	require.Equal(t, 0, run(t.Context(), []string{"get", "-o", "json", "-a", hostile(nil).Start(t)},
		environment{stdout: &b, stderr: &buffer{}, terminal: true}))
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		var object struct{ Metric map[string]string }
		require.NoError(t, json.Unmarshal([]byte(line), &object), line)
		if object.Metric["a"] != "" {
			require.Equal(t, metricstest.Evil, object.Metric["a"])
		}
	}
}
