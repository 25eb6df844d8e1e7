package output

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	promlabels "github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func TestFormats(t *testing.T) {
	byTemplate, err := ParseTemplate(`{{date "15:04:05.000" .Time}} {{.Name}} {{json .Labels}} {{.Labels.job}} {{.Value}}{{if .Stale}} gone{{end}}{{if .Histogram}} native{{end}}`)
	require.NoError(t, err)
	for _, c := range []struct {
		name    string
		options Options
		omitted string
	}{
		{"text", Options{}, "2 start timestamps"},
		{"json", Options{Events: true}, ""},
		{"openmetrics", Options{}, "1 histograms that are not valid, 2 stale markers, 1 sums of histograms with negative buckets"},
		{"csv", Options{}, "1 exemplars, 2 start timestamps"},
		{"table", Options{}, ""},
		{"template", Options{Template: byTemplate}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, omitted := printed(t, c.name, c.options)
			metricstest.Golden(t, c.name, []byte(text))
			require.Equal(t, c.omitted, omitted)
		})
	}
}

func TestTextOnATerminal(t *testing.T) {
	var b bytes.Buffer
	o := New("text", NewVisibleWriter(&b, true), Options{Terminal: true, Colour: true, Metadata: NewMetadata(metricstest.Metadata().GetMetadata())})
	require.NoError(t, o.Series(metricstest.Series()[:10]))
	require.NoError(t, o.Close())
	metricstest.Golden(t, "text.terminal", b.Bytes())
}

func TestJSONIsJSON(t *testing.T) {
	text, _ := printed(t, "json", Options{})
	lines := strings.Split(strings.TrimSpace(text), "\n")
	require.Len(t, lines, len(metricstest.Series())+1, "a line a sample, and an exemplar")
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
	text, _ := printed(t, "csv", Options{})
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	require.NoError(t, err)
	require.Len(t, records, len(metricstest.Series())+1)
	require.Equal(t, []string{"1700000000123", "1", "up", `{instance="localhost:9090",job="a \"quoted\" \\ name\nof two lines"}`}, records[1])
}

// TestCSVKeepsEveryByte reads fields as in RFC 4180, since Go's reader changes line
// breaks.
func TestCSVKeepsEveryByte(t *testing.T) {
	odd := []string{"a\rb", "a\r\nb\n", "\r", `"`, `a,"b"`, " a ", "\u2028\x00"}
	var b bytes.Buffer
	o := New("csv", &b, Options{Headless: true})
	for _, name := range odd {
		require.NoError(t, o.Series([]*metricsv1.TimeSeries{float(1, "__name__", name, "label", name)}))
	}
	require.NoError(t, o.Close())
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

func TestTextIsWhatPrometheusParses(t *testing.T) {
	text, _ := printed(t, "text", Options{})
	want := map[string]string{}
	for _, s := range metricstest.Series() {
		for _, sample := range s.GetSamples() {
			if math.Float64bits(sample.GetValue()) != math.Float64bits(stale) {
				want[key(s.GetLabels())] = strconvValue(sample.GetValue())
			}
		}
	}
	got, types, helps := map[string]string{}, map[string]string{}, map[string]string{}
	p := textparse.NewPromParser([]byte(text), promlabels.NewSymbolTable(), false)
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
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	require.NoError(t, err)
	require.Len(t, families["latency_seconds"].GetMetric()[0].GetHistogram().GetBucket(), 3)
	require.Len(t, families["rpc_seconds"].GetMetric()[0].GetSummary().GetQuantile(), 1)
}

func TestOpenMetricsIsWhatPrometheusParses(t *testing.T) {
	text, _ := printed(t, "openmetrics", Options{})
	got, types := parseOpenMetrics(t, text)
	for _, s := range metricstest.Series() {
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
	o := New("openmetrics", &b, Options{Ordered: true, Metadata: NewMetadata(metricstest.Metadata().GetMetadata())})
	later := float(2, "__name__", "up", "instance", "localhost:9090", "job", "x")
	later.Samples[0].Timestamp = t0 + 5000
	require.NoError(t, o.Series([]*metricsv1.TimeSeries{later}))
	earlier := float(1, "__name__", "up", "instance", "localhost:9090", "job", "x")
	require.NoError(t, o.Series([]*metricsv1.TimeSeries{earlier, earlier}))
	require.NoError(t, o.Close())
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
