package forwarder

import (
	"bytes"

	"github.com/prometheus/common/model"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
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

var metricTypes = metricsv1.MetricType_name

// familyOf returns the family of a series that has sent its metadata along. Native
// histograms, and the quantiles of a summary, have their family's own name, which
// may end like a suffix.
func familyOf(req *remotewrite.Request, series *remotewrite.Series, kind int32, native bool) []byte {
	name := req.MetricName(series)
	if native || kind == int32(metricsv1.MetricType_METRIC_TYPE_SUMMARY) && req.LabelValue(series, model.QuantileLabel) != nil {
		return name
	}
	for _, suffix := range suffixes[metricsv1.MetricType(kind)] {
		if family, ok := bytes.CutSuffix(name, suffix); ok && len(family) > 0 {
			return family
		}
	}
	return name
}
