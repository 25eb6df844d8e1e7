package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// familiesOf has pairs of a name and a type of METRIC_TYPE.
func familiesOf(pairs ...string) families {
	var all []*metricsv1.MetricMetadata
	for i := 0; i < len(pairs); i += 2 {
		kind := metricsv1.MetricType(metricsv1.MetricType_value["METRIC_TYPE_"+pairs[i+1]])
		all = append(all, &metricsv1.MetricMetadata{MetricFamilyName: pairs[i], Type: kind})
	}
	return newFamilies(all)
}

// The exact name of a known family comes before any suffix.
func TestFamilyOfMetric(t *testing.T) {
	cases := []struct {
		known        families
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
		{known: familiesOf("x", "COUNTER"), metric: "x_total", family: "x", kind: "counter"},
		{known: familiesOf("x", "COUNTER"), metric: "x", family: "x", kind: "unknown"},
		{known: familiesOf("x", "GAUGEHISTOGRAM"), metric: "x_created", family: "x_created", kind: "unknown"},
		{known: familiesOf("x", "HISTOGRAM"), metric: "x_bucket", native: true, family: "x_bucket", kind: "histogram"},
		{known: familiesOf("x_sum", "HISTOGRAM"), metric: "x_sum", native: true, family: "x_sum", kind: "histogram"},
		{known: familiesOf(), metric: "_total", family: "_total", kind: "unknown"},
	}
	for _, c := range cases {
		got := c.known.of(c.metric, c.native)
		require.Equal(t, family{name: c.family, kind: c.kind}, got, "%s of %v", c.metric, c.known)
	}
}
