package output

import (
	"testing"

	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// familiesOf returns metadata from pairs of a name and a METRIC_TYPE.
func familiesOf(pairs ...string) Metadata {
	var all []*metricsv1.MetricMetadata
	for i := 0; i < len(pairs); i += 2 {
		kind := metricsv1.MetricType(metricsv1.MetricType_value["METRIC_TYPE_"+pairs[i+1]])
		all = append(all, &metricsv1.MetricMetadata{MetricFamilyName: pairs[i], Type: kind})
	}
	return NewMetadata(all)
}

// The exact name of a known family wins over any suffix.
func TestFamilyOfMetric(t *testing.T) {
	cases := []struct {
		known        Metadata
		metric       string
		native       bool
		family, kind string
	}{
		{known: familiesOf("x", "SUMMARY"), metric: "x_sum", family: "x", kind: "summary"},
		{known: familiesOf("x_sum", "SUMMARY"), metric: "x_sum", family: "x_sum", kind: "summary"},
		{known: familiesOf("x_sum", "SUMMARY"), metric: "x_sum_sum", family: "x_sum", kind: "summary"},
		{known: familiesOf("x_count", "SUMMARY"), metric: "x_count", family: "x_count", kind: "summary"},
		{known: familiesOf("x_created", "SUMMARY"), metric: "x_created", family: "x_created", kind: "summary"},
		{known: familiesOf("x_created", "SUMMARY"), metric: "x_created_created", family: "x_created", kind: "summary"},
		{known: familiesOf("x_created", "SUMMARY", "x", "COUNTER"), metric: "x_created", family: "x_created", kind: "summary"},
		{known: familiesOf("x_total", "GAUGE", "x", "COUNTER"), metric: "x_total", family: "x_total", kind: "gauge"},
		{known: familiesOf("x_info", "GAUGE", "x", "INFO"), metric: "x_info", family: "x_info", kind: "gauge"},
		{known: familiesOf("x_bucket", "GAUGE", "x", "HISTOGRAM"), metric: "x_bucket", family: "x_bucket", kind: "gauge"},
		{known: familiesOf("x_bucket", "HISTOGRAM"), metric: "x_bucket_bucket", family: "x_bucket", kind: "histogram"},
		{known: familiesOf("x_total", "COUNTER"), metric: "x_total", family: "x", kind: "counter"},
		{known: familiesOf("x_total", "COUNTER", "x", "GAUGE"), metric: "x_total", family: "x_total", kind: "unknown"},
		{known: familiesOf("x_total", "COUNTER", "x", "GAUGE"), metric: "x", family: "x", kind: "gauge"},
		{known: familiesOf("x_total", "COUNTER"), metric: "x_created", family: "x", kind: "counter"},
		{known: familiesOf("x_total", "GAUGE"), metric: "x_created", family: "x_created", kind: "unknown"},
		{known: familiesOf("x", "COUNTER"), metric: "x_total", family: "x", kind: "counter"},
		{known: familiesOf("x", "COUNTER"), metric: "x", family: "x", kind: "unknown"},
		{known: familiesOf("x", "GAUGEHISTOGRAM"), metric: "x_created", family: "x_created", kind: "unknown"},
		{known: familiesOf("x", "HISTOGRAM"), metric: "x_bucket", native: true, family: "x_bucket", kind: "histogram"},
		{known: familiesOf("x_sum", "HISTOGRAM"), metric: "x_sum", native: true, family: "x_sum", kind: "histogram"},
		{known: familiesOf(), metric: "_total", family: "_total", kind: "unknown"},
	}
	for _, c := range cases {
		got := c.known.family(c.metric, c.native)
		require.Equal(t, family{name: c.family, kind: c.kind}, got, "%s of %v", c.metric, c.known)
	}
}

// In the text exposition format each metric is a family of its own name, but for the
// parts of histograms and summaries.
func TestFamilyInText(t *testing.T) {
	cases := []struct {
		known        Metadata
		metric       string
		family, kind string // "": none
	}{
		{familiesOf("x", "SUMMARY"), "x_sum", "x", "summary"},
		{familiesOf("x", "SUMMARY"), "x", "x", "summary"},
		{familiesOf("x_sum", "SUMMARY"), "x_sum", "x_sum", "summary"},
		{familiesOf("x_sum", "SUMMARY"), "x_sum_count", "x_sum", "summary"},
		{familiesOf("x", "HISTOGRAM"), "x_bucket", "x", "histogram"},
		{familiesOf("x_bucket", "HISTOGRAM"), "x_bucket", "x", "histogram"},
		{familiesOf("x_bucket", "GAUGE"), "x_bucket", "x_bucket", "gauge"},
		{familiesOf("x", "GAUGEHISTOGRAM"), "x_gcount", "x_gcount", "untyped"},
		{familiesOf("x_total", "COUNTER"), "x_total", "x_total", "counter"},
		{familiesOf("x", "COUNTER"), "x_total", "x_total", "counter"},
		{familiesOf("x", "COUNTER"), "x", "x", "counter"},
		{familiesOf("x", "COUNTER"), "x_created", "", ""},
		{familiesOf("x_total", "COUNTER"), "x_created", "", ""},
		{familiesOf("x", "INFO"), "x_info", "x_info", "gauge"},
		{familiesOf("x", "STATESET"), "x", "x", "gauge"},
		{familiesOf("x", "UNSPECIFIED"), "x", "x", "untyped"},
		{familiesOf("x", "GAUGE"), "y", "", ""},
	}
	for _, c := range cases {
		got, ok := c.known.textFamily(c.metric)
		require.Equal(t, c.family != "", ok, c.metric)
		require.Equal(t, family{name: c.family, kind: c.kind}, got, "%s of %v", c.metric, c.known)
	}
}
