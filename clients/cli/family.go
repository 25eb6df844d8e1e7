package cli

import (
	"strings"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// family is a metric family of OpenMetrics.
type family struct {
	name, kind, help, unit string
}

// families is the metadata that the server has, by the names the senders used.
type families map[string]*metricsv1.MetricMetadata

func newFamilies(all []*metricsv1.MetricMetadata) families {
	f := make(families, len(all))
	for _, m := range all {
		f[m.GetMetricFamilyName()] = m
	}
	return f
}

var kinds = map[metricsv1.MetricType]string{
	metricsv1.MetricType_METRIC_TYPE_COUNTER:        "counter",
	metricsv1.MetricType_METRIC_TYPE_GAUGE:          "gauge",
	metricsv1.MetricType_METRIC_TYPE_HISTOGRAM:      "histogram",
	metricsv1.MetricType_METRIC_TYPE_GAUGEHISTOGRAM: "gaugehistogram",
	metricsv1.MetricType_METRIC_TYPE_SUMMARY:        "summary",
	metricsv1.MetricType_METRIC_TYPE_INFO:           "info",
	metricsv1.MetricType_METRIC_TYPE_STATESET:       "stateset",
}

// suffixes that the samples of a kind have after the family's name.
var suffixes = map[string][]string{
	"counter":        {"_total", "_created"},
	"histogram":      {"_bucket", "_count", "_sum", "_created"},
	"gaugehistogram": {"_bucket", "_gcount", "_gsum", "_created"},
	"summary":        {"_count", "_sum", "_created", ""},
	"info":           {"_info"},
	"gauge":          {""},
	"stateset":       {""},
}

// of finds the family of a metric. What the family's kind would not allow in
// OpenMetrics (a counter that does not end in _total, say) is of a family of
// its own, of unknown kind.
func (f families) of(metric string, native bool) family {
	if m, ok := f[metric]; ok {
		if native {
			return describe(m, metric)
		}
		// Some senders name the family as the sample.
		for _, suffix := range suffixes[kinds[m.GetType()]] {
			if name, ok := strings.CutSuffix(metric, suffix); ok && name != "" {
				return describe(m, name)
			}
		}
		return family{name: metric, kind: "unknown", help: m.GetHelp()}
	}
	for i := len(metric) - 1; i > 0; i-- {
		if metric[i] != '_' {
			continue
		}
		if m, ok := f[metric[:i]]; ok {
			for _, suffix := range suffixes[kinds[m.GetType()]] {
				if suffix == metric[i:] {
					return describe(m, metric[:i])
				}
			}
		}
		break
	}
	if native {
		return family{name: metric, kind: "histogram"}
	}
	return family{name: metric, kind: "unknown"}
}

func describe(m *metricsv1.MetricMetadata, name string) family {
	f := family{name: name, kind: kinds[m.GetType()], help: m.GetHelp(), unit: m.GetUnit()}
	if f.kind == "" {
		f.kind = "unknown"
	}
	// The unit has to be a part of the name, as the parsers demand.
	if !strings.HasSuffix(name, "_"+f.unit) {
		f.unit = ""
	}
	return f
}
