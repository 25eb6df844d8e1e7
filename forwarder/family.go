package forwarder

import (
	"bytes"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// suffixes of the series of a family beyond its own name, by type. A counter
// has none: whether `_total` belongs to its family's name depends on the format
// that it was exposed in, which 2.0 does not tell.
var suffixes = map[metricsv1.MetricType][][]byte{
	metricsv1.MetricType_METRIC_TYPE_HISTOGRAM:      {[]byte("_bucket"), []byte("_count"), []byte("_sum")},
	metricsv1.MetricType_METRIC_TYPE_GAUGEHISTOGRAM: {[]byte("_bucket"), []byte("_gcount"), []byte("_gsum")},
	metricsv1.MetricType_METRIC_TYPE_SUMMARY:        {[]byte("_count"), []byte("_sum")},
}

// allSuffixes are those that a series of a family may have in any format and
// whatever its type, and none.
var allSuffixes = []string{
	"", "_total", "_bucket", "_count", "_sum", "_gcount", "_gsum", "_created", "_info",
}

var metricTypes = metricsv1.MetricType_name

// familyOf returns the family of a series that has sent its metadata along.
func familyOf(name []byte, kind int32) []byte {
	for _, suffix := range suffixes[metricsv1.MetricType(kind)] {
		if family, ok := bytes.CutSuffix(name, suffix); ok && len(family) > 0 {
			return family
		}
	}
	return name
}
