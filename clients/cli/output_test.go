package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	promlabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func TestOutputs(t *testing.T) {
	address := snapshot().Start(t)
	leftOut := map[string]string{
		"get.text":        "2 start timestamps",
		"get.csv":         "1 exemplars, 2 start timestamps",
		"get.openmetrics": "1 histograms that are not valid, 2 stale markers, 1 sums of histograms with negative buckets",
	}
	for name, args := range map[string][]string{
		"get.text":        nil,
		"get.json":        {"--output=json", "--events"},
		"get.openmetrics": {"--output=openmetrics"},
		"get.csv":         {"--output=csv"},
		"get.table":       {"--output=table"},
		"get.template":    {"--template", `{{date "15:04:05.000" .Time}} {{.Name}} {{json .Labels}} {{.Labels.job}} {{.Value}}{{if .Stale}} gone{{end}}{{if .Histogram}} native{{end}}`},
	} {
		for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
			t.Run(name+"/"+protocol, func(t *testing.T) {
				r := runCLI(t, t.Context(), append([]string{"get", "--address", address, "--protocol", protocol}, args...)...)
				require.Equal(t, 0, r.code, r.stderr)
				want := ""
				if out := leftOut[name]; out != "" {
					want = "prometheus-grpc-client: warning: left out, since the format has no words for them: " + out + "; --output proto has everything\n"
				}
				require.Equal(t, want, r.stderr)
				golden(t, name, []byte(r.stdout))
			})
		}
	}
}

func TestTextOnATerminal(t *testing.T) {
	var b bytes.Buffer
	o := newOutput("text", newVisibleWriter(&b, true), outputOptions{terminal: true, colour: true, families: newFamilies(metadata().GetMetadata())})
	require.NoError(t, o.series(fixture()[:10]))
	require.NoError(t, o.close())
	golden(t, "terminal.text", b.Bytes())
}

func TestJSONIsJSON(t *testing.T) {
	r := runCLI(t, t.Context(), "get", "-o", "json", "--address", snapshot().Start(t))
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	require.Len(t, lines, len(fixture())+1, "a line a sample, and an exemplar")
	for _, line := range lines {
		require.True(t, json.Valid([]byte(line)), line)
	}
	var odd map[string]string
	require.NoError(t, json.Unmarshal(append(appendJSONLabels(nil, labelsOf("a\x00\x1f\u2028", "\xff\"\\\n\t€")), '\n'), &odd))
	require.Equal(t, map[string]string{"a\x00\x1f\u2028": "\uFFFD\"\\\n\t€"}, odd)
}

func labelsOf(name, value string) []*metricsv1.Label {
	return []*metricsv1.Label{{Name: name, Value: value}}
}

func TestCSVIsCSV(t *testing.T) {
	r := runCLI(t, t.Context(), "get", "-o", "csv", "--address", snapshot().Start(t))
	records, err := csv.NewReader(strings.NewReader(r.stdout)).ReadAll()
	require.NoError(t, err)
	require.Len(t, records, len(fixture())+1)
	require.Equal(t, []string{"1700000000123", "1", "up", `{instance="localhost:9090",job="a \"quoted\" \\ name\nof two lines"}`}, records[1])
}

// TestCSVKeepsEveryByte reads fields as RFC 4180 says, since Go's reader changes
// line breaks.
func TestCSVKeepsEveryByte(t *testing.T) {
	odd := []string{"a\rb", "a\r\nb\n", "\r", `"`, `a,"b"`, " a ", "\u2028\x00"}
	var b bytes.Buffer
	o := newOutput("csv", &b, outputOptions{headless: true})
	for _, name := range odd {
		require.NoError(t, o.series([]*metricsv1.TimeSeries{float(1, "__name__", name, "label", name)}))
	}
	require.NoError(t, o.close())
	var want [][]string
	for _, name := range odd {
		_, labels := splitName(labels("__name__", name, "label", name))
		want = append(want, []string{"1700000000123", "1", name, string(appendSeries(nil, "", labels))})
	}
	require.Equal(t, want, parseCSV(t, b.String()))
}

func parseCSV(t *testing.T, s string) (records [][]string) {
	t.Helper()
	for s != "" {
		var record []string
		for end := ""; end != "\r\n"; {
			field := regexp.MustCompile(`(?s)^(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)`).FindStringSubmatch(s)
			require.NotNil(t, field, "%q", s)
			record = append(record, strings.ReplaceAll(field[1], `""`, `"`)+field[2])
			s, end = s[len(field[0]):], field[3]
		}
		records = append(records, record)
	}
	return records
}

// TestCSVOfSeveralRuns is in one file, with one header.
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

func TestProtoKeepsEveryBit(t *testing.T) {
	r := runCLI(t, t.Context(), "get", "-o", "proto", "--address", snapshot().Start(t))
	in := bufio.NewReader(strings.NewReader(r.stdout))
	for _, want := range fixture() {
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

func TestTextIsWhatPrometheusParses(t *testing.T) {
	r := runCLI(t, t.Context(), "get", "--address", snapshot().Start(t))
	want := map[string]string{}
	for _, s := range fixture() {
		for _, sample := range s.GetSamples() {
			if math.Float64bits(sample.GetValue()) != math.Float64bits(stale) {
				want[key(s.GetLabels())] = strconvValue(sample.GetValue())
			}
		}
	}
	got, types, helps := map[string]string{}, map[string]string{}, map[string]string{}
	p := textparse.NewPromParser([]byte(r.stdout), promlabels.NewSymbolTable(), false)
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		switch entry {
		case textparse.EntryType:
			name, kind := p.Type()
			require.NotContains(t, types, string(name), "a family once")
			types[string(name)] = string(kind)
		case textparse.EntryHelp:
			name, help := p.Help()
			helps[string(name)] = string(help)
		case textparse.EntrySeries:
			var ls promlabels.Labels
			p.Labels(&ls)
			_, at, v := p.Series()
			require.Equal(t, int64(t0), *at)
			got[ls.String()] = strconvValue(v)
		default:
			require.Equal(t, textparse.EntryComment, entry)
		}
	}
	require.Equal(t, want, got)
	require.Equal(t, map[string]string{
		"http_requests_total": "counter", "latency_seconds": "histogram", "legacy_counter": "counter",
		"native_int": "histogram", "rpc_seconds": "summary", "up": "gauge",
	}, types)
	require.Equal(t, map[string]string{
		"http_requests_total": "Requests.", "latency_seconds": "Line one\nand \"two\" \\", "legacy_counter": "A counter without suffix.",
		"rpc_seconds": "Unit and name differ.", "up": "Whether it is.",
	}, helps)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(r.stdout))
	require.NoError(t, err)
	require.Len(t, families["latency_seconds"].GetMetric()[0].GetHistogram().GetBucket(), 3)
	require.Len(t, families["rpc_seconds"].GetMetric()[0].GetSummary().GetQuantile(), 1)
}

// In a stream, HELP and TYPE come once, before the first sample of a family, and the
// samples of a family that came together are together.
func TestTextHeads(t *testing.T) {
	server := &metricstest.Server{Metadata: metadata(), Script: func(_ context.Context, call *metricstest.Call) error {
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
	// A template has its own text.
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

func TestOpenMetricsIsWhatPrometheusParses(t *testing.T) {
	r := runCLI(t, t.Context(), "get", "-o", "openmetrics", "--address", snapshot().Start(t))
	got, types := parseOpenMetrics(t, r.stdout)
	for _, s := range fixture() {
		name, _ := splitName(s.GetLabels())
		for _, sample := range s.GetSamples() {
			key := key(s.GetLabels())
			if math.Float64bits(sample.GetValue()) == math.Float64bits(stale) {
				require.NotContains(t, got, key)
				continue
			}
			require.Contains(t, got, key, name)
			require.Equal(t, strconvValue(sample.GetValue()), strconvValue(got[key]))
			delete(got, key)
		}
	}
	require.Equal(t, 3.5, got[`{__name__="native_float_gauge_gcount"}`])
	require.Equal(t, 6.0, got[`{__name__="native_custom_bucket", le="+Inf"}`])
	require.Equal(t, 3.0, got[`{__name__="native_custom_bucket", le="2.0"}`])
	require.NotContains(t, got, `{__name__="native_int_sum", job="n"}`, "negative observations")
	require.Equal(t, map[string]string{
		"http_requests": "counter", "latency_seconds": "histogram", "legacy_counter": "unknown", "native_int": "histogram",
		"native_custom": "histogram", "native_float_gauge": "gaugehistogram", "rpc_seconds": "summary", "up": "gauge",
		"dotted.name": "unknown", "zero": "unknown", "small": "unknown", "large": "unknown",
	}, types)
}

func key(ls []*metricsv1.Label) string {
	b := promlabels.NewScratchBuilder(len(ls))
	for _, l := range ls {
		b.Add(l.GetName(), l.GetValue())
	}
	b.Sort()
	return b.Labels().String()
}

func strconvValue(v float64) string { return string(appendValue(nil, v)) }

func parseOpenMetrics(t *testing.T, text string) (map[string]float64, map[string]string) {
	t.Helper()
	p := textparse.NewOpenMetricsParser([]byte(text), promlabels.NewSymbolTable())
	values, types := map[string]float64{}, map[string]string{}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return values, types
		}
		require.NoError(t, err)
		switch entry {
		case textparse.EntryType:
			name, kind := p.Type()
			require.NotContains(t, types, string(name), "a family once")
			types[string(name)] = string(kind)
		case textparse.EntrySeries:
			var ls promlabels.Labels
			p.Labels(&ls)
			_, ts, v := p.Series()
			require.InDelta(t, t0, *ts, 1)
			require.NotContains(t, values, ls.String(), "a point once")
			values[ls.String()] = v
		}
	}
}

func TestOpenMetricsTakesEachPointOnce(t *testing.T) {
	var b bytes.Buffer
	o := newOutput("openmetrics", &b, outputOptions{ordered: true, families: newFamilies(metadata().GetMetadata())})
	later := float(2, "__name__", "up", "instance", "localhost:9090", "job", "x")
	later.Samples[0].Timestamp = t0 + 5000
	require.NoError(t, o.series([]*metricsv1.TimeSeries{later}))
	earlier := float(1, "__name__", "up", "instance", "localhost:9090", "job", "x")
	require.NoError(t, o.series([]*metricsv1.TimeSeries{earlier, earlier}))
	require.NoError(t, o.close())
	require.Equal(t, `# TYPE up gauge
# HELP up Whether it is.
up{instance="localhost:9090",job="x"} 1 1700000000.123
up{instance="localhost:9090",job="x"} 2 1700000005.123
# EOF
`, b.String())
}

func TestValues(t *testing.T) {
	for v, want := range map[float64][2]string{
		0: {"0", "0"}, 1e21: {"1e+21", "1e+21"}, 1e20: {"1e+20", "100000000000000000000"}, 1e-7: {"1e-07", "1e-07"},
		0.1: {"0.1", "0.1"}, math.Inf(-1): {"-Inf", "-Inf"}, math.Inf(1): {"+Inf", "+Inf"},
	} {
		require.Equal(t, want[0], string(appendValue(nil, v)))
		require.Equal(t, want[1], string(appendAPIValue(nil, v)))
	}
	require.Equal(t, "NaN", string(appendValue(nil, math.NaN())))
	require.Equal(t, staleToken, string(appendValue(nil, stale)))
	require.Equal(t, "-1.005", string(appendSeconds(nil, -1005)))
	require.Equal(t, "12", string(appendSeconds(nil, 12000)))
}
