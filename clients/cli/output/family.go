package output

import (
	"cmp"
	"slices"
	"strings"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// family is a metric family as a document declares it.
type family struct {
	name, kind, help, unit string
}

// Metadata is what the server knows about metric families, by the names that the
// senders gave them. It may grow while an output uses it.
type Metadata map[string]*metricsv1.MetricMetadata

// NewMetadata returns the metadata of all these families.
func NewMetadata(all []*metricsv1.MetricMetadata) Metadata {
	d := make(Metadata, len(all))
	for _, m := range all {
		d[m.GetMetricFamilyName()] = m
	}
	return d
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

// Kind is a type's name in OpenMetrics.
func Kind(t metricsv1.MetricType) string { return cmp.Or(kinds[t], "unknown") }

// suffixes are what sample names of a kind may have after the family's name.
var suffixes = map[string][]string{
	"counter":        {"_total", "_created"},
	"histogram":      {"_bucket", "_count", "_sum", "_created"},
	"gaugehistogram": {"_bucket", "_gcount", "_gsum"},
	"summary":        {"_count", "_sum", "_created", ""},
	"info":           {"_info"},
	"gauge":          {""},
	"stateset":       {""},
}

// family returns the OpenMetrics family of a metric. The exact name of a known
// family wins over any suffix: a summary may be called foo_sum. A metric that its
// family's kind does not allow (a counter that does not end in _total, say) gets a
// family of its own, of unknown kind.
func (d Metadata) family(metric string, native bool) family {
	m, exact := d[metric]
	switch {
	case native && exact:
		return describe(m, metric)
	case native:
		return family{name: metric, kind: "histogram"}
	case exact && slices.Contains(suffixes[kinds[m.GetType()]], ""):
		return describe(m, metric)
	}
	if base, of := d.bySuffix(metric); of != nil && !exact {
		return describe(of, base)
	}
	if !exact {
		return family{name: metric, kind: "unknown"}
	}
	// Some senders name the family like the sample. Without the suffix the name may
	// be another family's.
	for _, suffix := range suffixes[kinds[m.GetType()]] {
		if base, ok := strings.CutSuffix(metric, suffix); ok && base != "" && d[base] == nil {
			return describe(m, base)
		}
	}
	return family{name: metric, kind: "unknown", help: m.GetHelp()}
}

// bySuffix returns the family whose name and suffix make up the metric's name.
func (d Metadata) bySuffix(metric string) (string, *metricsv1.MetricMetadata) {
	i := strings.LastIndexByte(metric, '_')
	if i <= 0 {
		return "", nil
	}
	m := d[metric[:i]]
	if m == nil && metric[i:] == "_created" {
		m = d[metric[:i]+"_total"] // Some senders name the family like the sample.
	}
	if m == nil || !slices.Contains(suffixes[kinds[m.GetType()]], metric[i:]) {
		return "", nil
	}
	return metric[:i], m
}

func describe(m *metricsv1.MetricMetadata, name string) family {
	f := family{name: name, kind: Kind(m.GetType()), help: m.GetHelp(), unit: m.GetUnit()}
	// Parsers demand that the name ends with the unit.
	if !strings.HasSuffix(name, "_"+f.unit) {
		f.unit = ""
	}
	return f
}
