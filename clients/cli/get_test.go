package cli

import (
	"bufio"
	"context"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// TestOutputs prints from a server what output/testdata has.
func TestOutputs(t *testing.T) {
	address := snapshot().Start(t)
	leftOut := map[string]string{
		"text":        "2 start timestamps",
		"csv":         "1 exemplars, 2 start timestamps",
		"openmetrics": "1 histograms that are not valid, 2 stale markers, 1 sums of histograms with negative buckets",
	}
	for name, args := range map[string][]string{
		"text":        nil,
		"json":        {"--output=json", "--events"},
		"openmetrics": {"--output=openmetrics"},
		"csv":         {"--output=csv"},
		"table":       {"--output=table"},
		"template":    {"--template", `{{date "15:04:05.000" .Time}} {{.Name}} {{json .Labels}} {{.Labels.job}} {{.Value}}{{if .Stale}} gone{{end}}{{if .Histogram}} native{{end}}`},
	} {
		for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
			t.Run(name+"/"+protocol, func(t *testing.T) {
				r := runCLI(t, t.Context(), append([]string{"get", "--address", address, "--protocol", protocol}, args...)...)
				require.Equal(t, 0, r.code, r.stderr)
				want := ""
				if out := leftOut[name]; out != "" {
					want = "prometheus-grpc-client: warning: left out, since the format cannot express them: " + out + "; --output proto has everything\n"
				}
				require.Equal(t, want, r.stderr)
				require.Equal(t, content(t, filepath.Join("output", "testdata", name)), r.stdout)
			})
		}
	}
}

// TestCSVOfSeveralRuns appends to one file, with one header.
func TestCSVOfSeveralRuns(t *testing.T) {
	address := snapshot().Start(t)
	first := runCLI(t, t.Context(), "get", "-o", "csv", "-a", address)
	next := runCLI(t, t.Context(), "get", "-o", "csv", "--no-csv-header", "-a", address)
	require.Equal(t, ExitOK, next.code, next.stderr)
	_, rows, _ := strings.Cut(first.stdout, "\r\n")
	require.Equal(t, rows, next.stdout)
	file := filepath.Join(t.TempDir(), "a.seg")
	require.NoError(t, os.WriteFile(file, segmentBytes(t), 0o600))
	inspected := runCLI(t, t.Context(), "inspect", file, "--samples", "-o", "csv", "--no-csv-header")
	require.Equal(t, ExitOK, inspected.code, inspected.stderr)
	require.NotContains(t, inspected.stdout, "timestamp,value")

	for _, args := range [][]string{{"get", "-a", address}, {"inspect", file, "--samples"}} {
		r := runCLI(t, t.Context(), append(args, "--no-csv-header")...)
		require.Equal(t, ExitUsage, r.code)
		require.Contains(t, r.stderr, "--csv-header needs --output csv")
	}
	t.Setenv("PROMGRPC_CLIENT_CSV_HEADER", "false") // is for other calls
	require.Equal(t, ExitOK, runCLI(t, t.Context(), "get", "-a", address).code)
	require.Equal(t, next.stdout, runCLI(t, t.Context(), "get", "-o", "csv", "-a", address).stdout)
}

// In a stream, HELP and TYPE come once, before the first sample of a family, and the
// samples of a family that came together are together.
func TestTextHeads(t *testing.T) {
	server := &metricstest.Server{Metadata: metricstest.Metadata(), Script: func(_ context.Context, call *metricstest.Call) error {
		for _, names := range [][]string{
			{"rpc_seconds_sum", "other", "up", "rpc_seconds_count"}, {"up", "http_requests_total", "rpc_seconds_sum"},
		} {
			r := &metricsv1.GetMetricsResponse{Cursor: "c"}
			for _, name := range names {
				r.Timeseries = append(r.Timeseries, float(1, "__name__", name))
			}
			if err := call.Send(r); err != nil {
				return err
			}
		}
		return call.Send(end("e"))
	}}
	address := server.Start(t)
	for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
		r := runCLI(t, t.Context(), "get", "-f", "-a", address, "--protocol", protocol, "--limit=7")
		require.Equal(t, 0, r.code, r.stderr)
		require.Equal(t, `# HELP rpc_seconds Unit and name differ.
# TYPE rpc_seconds summary
rpc_seconds_sum 1 1700000000123
rpc_seconds_count 1 1700000000123
other 1 1700000000123
# HELP up Whether it is.
# TYPE up gauge
up 1 1700000000123
rpc_seconds_sum 1 1700000000123
up 1 1700000000123
# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total 1 1700000000123
`, r.stdout)
	}
	// A template prints nothing but its own text.
	r := runCLI(t, t.Context(), "get", "-a", address, "--template", "{{.Name}}")
	require.NotContains(t, r.stdout, "#")
}

func TestBrokenTemplates(t *testing.T) {
	for text, want := range map[string]string{
		"{{.Name": "unclosed action", "{{.Job}}": "can't evaluate field Job", "{{nosuch .Name}}": `function "nosuch" not defined`,
	} {
		r := runCLI(t, t.Context(), "get", "--template", text)
		require.Equal(t, ExitUsage, r.code)
		require.Contains(t, r.stderr, want)
	}
	for _, other := range []string{"--output=csv", "--watch"} {
		r := runCLI(t, t.Context(), "get", "--template", "{{.Name}}", other)
		require.Equal(t, ExitUsage, r.code)
		name, _, _ := strings.Cut(other, "=")
		require.Contains(t, r.stderr, "--template and "+name+" exclude each other")
	}
}

func TestProtoKeepsEveryBit(t *testing.T) {
	r := runCLI(t, t.Context(), "get", "-o", "proto", "--address", snapshot().Start(t))
	in := bufio.NewReader(strings.NewReader(r.stdout))
	for _, want := range metricstest.Series() {
		got := new(metricsv1.TimeSeries)
		require.NoError(t, protodelim.UnmarshalFrom(in, got))
		require.True(t, proto.Equal(want, got))
		for i := range want.GetSamples() {
			require.Equal(t, math.Float64bits(want.GetSamples()[i].GetValue()), math.Float64bits(got.GetSamples()[i].GetValue()))
		}
	}
	_, err := in.ReadByte()
	require.ErrorIs(t, err, io.EOF)
}
