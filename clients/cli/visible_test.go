package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// evil changes the title of a terminal, rings, clears the screen in two ways, and
// turns the direction of reading.
const evil = "x\x1b]0;title\x07\r\u009b2J\x7f\u202e\u2066\u200e\u061c\u200b\ufeff\u2028\U000e0041\b"

// sgr are the sequences that are ours.
var sgr = regexp.MustCompile("\x1b\\[[012]m")

// hostile is a server that has it everywhere, and whose stream ends with err.
func hostile(err error) *metricstest.Server {
	series := func(pairs ...string) *metricsv1.TimeSeries {
		s := float(1, pairs...)
		s.Exemplars = []*metricsv1.Exemplar{{Labels: labels(evil, evil), Value: 1, Timestamp: t0}}
		return s
	}
	return &metricstest.Server{
		LabelNames:  &metricsv1.GetLabelNamesResponse{Names: []string{evil}},
		LabelValues: &metricsv1.GetLabelValuesResponse{Values: []string{evil, "a\nb\tc\\d"}},
		Metadata: &metricsv1.GetMetadataResponse{Metadata: []*metricsv1.MetricMetadata{
			{MetricFamilyName: "requests", Type: metricsv1.MetricType_METRIC_TYPE_COUNTER, Help: evil, Unit: evil},
			{MetricFamilyName: evil, Help: evil, Unit: evil},
		}},
		Segments: &metricsv1.ListSegmentsResponse{Segments: []*metricsv1.Segment{{LogId: evil, Name: evil}}},
		Status: &metricsv1.GetStatusResponse{
			Instance: evil, Version: evil, Cursor: evil, Logs: []*metricsv1.LogStatus{{LogId: evil}},
		},
		Script: func(_ context.Context, call *metricstest.Call) error {
			gap := &metricsv1.GetMetricsResponse_Gap{Gap: &metricsv1.Gap{LogId: evil, Reason: evil}}
			if sendErr := call.Send(&metricsv1.GetMetricsResponse{Event: gap, Timeseries: []*metricsv1.TimeSeries{
				series("__name__", "requests_total", "a", evil), series("__name__", evil, evil, "a\tb\nc"),
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

// TestTerminalIsNotSteered by anything that a server says, on standard output and
// on standard error, whichever of them is a terminal. What is none gets the bytes.
func TestTerminalIsNotSteered(t *testing.T) {
	well := hostile(nil).Start(t)
	refusing := hostile(metricstest.Error(connect.CodeInvalidArgument, "selector: "+evil+"\n  ^ here")).Start(t)
	denying := hostile(metricstest.Error(connect.CodePermissionDenied, evil)).Start(t)
	file := filepath.Join(t.TempDir(), "a.seg")
	require.NoError(t, os.WriteFile(file, segmentBytes(t), 0o600))

	for _, tc := range []struct {
		args []string
		// raw says that evil is in standard output, or standard error, as it is
		// where that is a file.
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
		{[]string{"inspect", file + evil}, false, true},
		{[]string{"get", "-a", evil + ":1"}, false, true},
		{[]string{"get", "--since", evil}, false, false}, // it is not repeated
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
				about := strings.ReplaceAll(strings.Join(tc.args, " "), evil, "EVIL") + " " + protocol
				for _, stream := range []struct {
					name, text    string
					terminal, raw bool
				}{{"stdout", stdout.String(), terminal.out, tc.rawOut}, {"stderr", stderr.String(), terminal.err, tc.rawErr}} {
					if stream.terminal {
						requireCalm(t, sgr.ReplaceAllString(stream.text, ""), about+" "+stream.name)
					} else if stream.raw {
						require.Contains(t, stream.text, "\x1b]0;title\a", about+" "+stream.name)
					}
				}
			}
		}
	}
}

// requireCalm fails if a text has what steers a terminal.
func requireCalm(t *testing.T, text, about string) {
	t.Helper()
	require.True(t, utf8.ValidString(text), "%s: %q", about, text)
	text = strings.NewReplacer("\n", "", "\t", "").Replace(text)
	require.False(t, strings.ContainsFunc(text, steers), "%s: %q", about, text)
}

// TestLineBreaksInValues do not make two values of one, nor tabs two columns.
func TestLineBreaksInValues(t *testing.T) {
	address := hostile(nil).Start(t)
	r := runCLI(t, t.Context(), "labels", "job", "-a", address)
	require.Equal(t, evil+"\n"+`a\nb`+"\tc"+`\\d`+"\n", r.stdout)
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

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain ä€𝄞 \U0001f600": "plain ä€𝄞 \U0001f600", "\x1b[2J": `\u001b[2J`, "\x07\x00\x7f": `\u0007\u0000\u007f`,
		"a\r\n\tb": `a\r\n\tb`, "\u0080\u009f\u0085": `\u0080\u009f\u0085`, "\x9b\xff": `\x9b\xff`, "\uFFFD": "\uFFFD",
		"\u202a\u202e\u2066\u2069\u200e\u200f\u061c": `\u202a\u202e\u2066\u2069\u200e\u200f\u061c`,
		"\u200b\u200d\ufeff\u00ad\u2028":             `\u200b\u200d\ufeff\u00ad\u2028`, "\U000e0001": `\udb40\udc01`,
		bold + "x" + plain: `\xf8x\xfa`,
	} {
		require.Equal(t, want, visible(in))
	}
	var b buffer
	require.Equal(t, 0, run(t.Context(), []string{"get", "-o", "json", "-a", hostile(nil).Start(t)},
		environment{stdout: &b, stderr: &buffer{}, terminal: true}))
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		var object struct{ Metric map[string]string }
		require.NoError(t, json.Unmarshal([]byte(line), &object), line)
		if object.Metric["a"] != "" {
			require.Equal(t, evil, object.Metric["a"])
		}
	}
}

// TestVisibleWriterInPieces cuts a text at each byte.
func TestVisibleWriterInPieces(t *testing.T) {
	text := bold + evil + plain + "ä€𝄞\n\t\xe2\x82\xff" + evil + "\xe2\x82"
	want := styles[bold] + visible(evil) + styles[plain] + "ä€𝄞\n\t" + `\xe2\x82\xff` + visible(evil) + `\xe2\x82`
	for i := range len(text) + 1 {
		var b bytes.Buffer
		v := newVisibleWriter(&b, true)
		for _, piece := range []string{text[:i], text[i:]} {
			n, err := v.Write([]byte(piece))
			require.NoError(t, err)
			require.Equal(t, len(piece), n)
		}
		require.NoError(t, v.finish())
		require.Equal(t, want, b.String())
	}
	_, err := newVisibleWriter(hungUp{}, false).Write([]byte("x"))
	require.ErrorIs(t, err, syscall.EPIPE)
}

type hungUp struct{}

func (hungUp) Write([]byte) (int, error) { return 0, errors.Join(syscall.EIO) }

func FuzzVisible(f *testing.F) {
	f.Add([]byte(evil), 3)
	f.Add([]byte(bold+"\xe2\x82"), 2)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		var out bytes.Buffer
		v := newVisibleWriter(&out, false)
		cut = min(max(cut, 0), len(b))
		_, _ = v.Write(b[:cut])
		_, _ = v.Write(b[cut:])
		require.NoError(t, v.finish())
		requireCalm(t, out.String(), "out")
	})
}
