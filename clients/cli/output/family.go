package output

import (
	"cmp"
	"slices"
	"strings"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// family is a metric family of OpenMetrics.
type family struct {
	name, kind, help, unit string
}

// Families is the metadata that the server has, by the names the senders used. It
// may grow while an output has it.
type Families map[string]*metricsv1.MetricMetadata

// NewFamilies returns what is known of them all.
func NewFamilies(all []*metricsv1.MetricMetadata) Families {
	f := make(Families, len(all))
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

// Kind is a type's name in OpenMetrics.
func Kind(t metricsv1.MetricType) string { return cmp.Or(kinds[t], "unknown") }

// suffixes that the samples of a kind have after the family's name.
var suffixes = map[string][]string{
	"counter":        {"_total", "_created"},
	"histogram":      {"_bucket", "_count", "_sum", "_created"},
	"gaugehistogram": {"_bucket", "_gcount", "_gsum"},
	"summary":        {"_count", "_sum", "_created", ""},
	"info":           {"_info"},
	"gauge":          {""},
	"stateset":       {""},
}

// of finds the family of a metric. The exact name of a known family comes before
// any suffix: a summary may be called foo_sum. What the family's kind would not
// allow in OpenMetrics (a counter that does not end in _total, say) is of a
// family of its own, of unknown kind.
func (f Families) of(metric string, native bool) family {
	m, exact := f[metric]
	switch {
	case native && exact:
		return describe(m, metric)
	case native:
		return family{name: metric, kind: "histogram"}
	case exact && slices.Contains(suffixes[kinds[m.GetType()]], ""):
		return describe(m, metric)
	}
	if base, of := f.based(metric); of != nil && !exact {
		return describe(of, base)
	}
	if !exact {
		return family{name: metric, kind: "unknown"}
	}
	// Some senders name the family as the sample. The name without the suffix may
	// be that of another family.
	for _, suffix := range suffixes[kinds[m.GetType()]] {
		if base, ok := strings.CutSuffix(metric, suffix); ok && base != "" && f[base] == nil {
			return describe(m, base)
		}
	}
	return family{name: metric, kind: "unknown", help: m.GetHelp()}
}

// based finds the family that a metric is a part of by its suffix.
func (f Families) based(metric string) (string, *metricsv1.MetricMetadata) {
	i := strings.LastIndexByte(metric, '_')
	if i <= 0 {
		return "", nil
	}
	m := f[metric[:i]]
	if m == nil && metric[i:] == "_created" {
		m = f[metric[:i]+"_total"] // Some senders name the family as the sample.
	}
	if m == nil || !slices.Contains(suffixes[kinds[m.GetType()]], metric[i:]) {
		return "", nil
	}
	return metric[:i], m
}

func describe(m *metricsv1.MetricMetadata, name string) family {
	f := family{name: name, kind: Kind(m.GetType()), help: m.GetHelp(), unit: m.GetUnit()}
	// The unit has to be a part of the name, as the parsers demand.
	if !strings.HasSuffix(name, "_"+f.unit) {
		f.unit = ""
	}
	return f
}
