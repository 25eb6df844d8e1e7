package metricstest

import (
	"math"

	"github.com/prometheus/prometheus/model/value"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// T0 is the timestamp of the samples, in milliseconds.
const T0 = 1_700_000_000_123

// Labels returns labels from pairs of a name and a value.
func Labels(pairs ...string) (out []*metricsv1.Label) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, &metricsv1.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}

// Float returns a series with one sample, at T0.
func Float(v float64, pairs ...string) *metricsv1.TimeSeries {
	return &metricsv1.TimeSeries{
		Labels:  Labels(pairs...),
		Samples: []*metricsv1.Sample{{Value: v, Timestamp: T0}},
	}
}

// Native returns a series with one histogram, at T0.
func Native(h *metricsv1.Histogram, pairs ...string) *metricsv1.TimeSeries {
	h.Timestamp = T0
	return &metricsv1.TimeSeries{Labels: Labels(pairs...), Histograms: []*metricsv1.Histogram{h}}
}

// Stale is the value of a stale marker.
var Stale = math.Float64frombits(value.StaleNaN)

// Series returns one of each kind that outputs print differently.
func Series() []*metricsv1.TimeSeries {
	counter := Float(42, "__name__", "http_requests_total", "code", "200")
	counter.Samples[0].StartTimestamp = T0 - 60_000
	counter.Coalesced = 3
	counter.Exemplars = []*metricsv1.Exemplar{{Labels: Labels("trace_id", "abc\"\\"), Value: 0.5, Timestamp: T0 - 1}}
	span := func(offset int32, length uint32) []*metricsv1.BucketSpan {
		return []*metricsv1.BucketSpan{{Offset: offset, Length: length}}
	}
	return []*metricsv1.TimeSeries{
		Float(1, "__name__", "up", "instance", "localhost:9090", "job", "a \"quoted\" \\ name\nof two lines"),
		Float(math.NaN(), "__name__", "up", "instance", "nan", "job", "ä"),
		Float(math.Inf(1), "__name__", "up", "instance", "inf", "job", "x"),
		Float(math.Inf(-1), "__name__", "up", "instance", "ninf", "job", "x"),
		Float(Stale, "__name__", "up", "instance", "gone", "job", "x"),
		Float(math.Copysign(0, -1), "__name__", "zero"),
		Float(1.5e-9, "__name__", "small"),
		Float(123456789012, "__name__", "large"),
		Float(7, "__name__", "dotted.name", "label.name", "v", "plain", "p"),
		counter,
		Float(9, "__name__", "legacy_counter"),
		Float(1, "__name__", "rpc_seconds", "quantile", "0.9"),
		Float(3, "__name__", "rpc_seconds_sum"),
		Float(2, "__name__", "rpc_seconds_count"),
		Float(5, "__name__", "latency_seconds_count", "job", "b"),
		Float(5, "__name__", "latency_seconds_bucket", "job", "b", "le", "+Inf"),
		Float(4, "__name__", "latency_seconds_bucket", "job", "b", "le", "10.0"),
		Float(1, "__name__", "latency_seconds_bucket", "job", "b", "le", "2.0"),
		Float(12.5, "__name__", "latency_seconds_sum", "job", "b"),
		Native(&metricsv1.Histogram{
			Count: &metricsv1.Histogram_CountInt{CountInt: 10}, Sum: 18.4, Schema: 1, ZeroThreshold: 0.001,
			ZeroCount:     &metricsv1.Histogram_ZeroCountInt{ZeroCountInt: 2},
			PositiveSpans: span(0, 3), PositiveDeltas: []int64{1, 2, -1},
			NegativeSpans: span(-1, 1), NegativeDeltas: []int64{2},
		}, "__name__", "native_int", "job", "n"),
		Native(&metricsv1.Histogram{
			Count: &metricsv1.Histogram_CountFloat{CountFloat: 3.5}, Sum: 4, Schema: 0,
			ZeroCount:     &metricsv1.Histogram_ZeroCountFloat{ZeroCountFloat: 0},
			PositiveSpans: span(0, 2), PositiveCounts: []float64{1.5, 2},
			ResetHint: metricsv1.Histogram_RESET_HINT_GAUGE,
		}, "__name__", "native_float_gauge"),
		Native(&metricsv1.Histogram{
			Count: &metricsv1.Histogram_CountInt{CountInt: 6}, Sum: 8, Schema: -53,
			PositiveSpans: span(0, 3), PositiveDeltas: []int64{1, 1, 1},
			CustomValues: []float64{0.5, 2}, StartTimestamp: T0 - 1000,
		}, "__name__", "native_custom"),
		Native(&metricsv1.Histogram{Count: &metricsv1.Histogram_CountInt{}, Sum: Stale}, "__name__", "native_stale"),
		Native(&metricsv1.Histogram{
			Count: &metricsv1.Histogram_CountInt{CountInt: 6}, PositiveSpans: span(0, 4), PositiveDeltas: []int64{1},
		}, "__name__", "native_broken"),
	}
}

// Metadata returns that of some of Series.
func Metadata() *metricsv1.GetMetadataResponse {
	m := func(name string, kind metricsv1.MetricType, unit, help string) *metricsv1.MetricMetadata {
		return &metricsv1.MetricMetadata{MetricFamilyName: name, Type: kind, Unit: unit, Help: help}
	}
	return &metricsv1.GetMetadataResponse{Metadata: []*metricsv1.MetricMetadata{
		m("http_requests_total", metricsv1.MetricType_METRIC_TYPE_COUNTER, "", "Requests."),
		m("latency_seconds", metricsv1.MetricType_METRIC_TYPE_HISTOGRAM, "seconds", "Line one\nand \"two\" \\"),
		m("legacy_counter", metricsv1.MetricType_METRIC_TYPE_COUNTER, "", "A counter without suffix."),
		m("native_int", metricsv1.MetricType_METRIC_TYPE_HISTOGRAM, "", ""),
		m("rpc_seconds", metricsv1.MetricType_METRIC_TYPE_SUMMARY, "bytes", "Unit and name differ."),
		m("up", metricsv1.MetricType_METRIC_TYPE_GAUGE, "", "Whether it is."),
	}}
}
