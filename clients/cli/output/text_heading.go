package output

import (
	"cmp"
	"slices"
	"strings"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// textKinds maps kinds of OpenMetrics that the text exposition format lacks to
// its own.
var textKinds = map[string]string{"info": "gauge", "stateset": "gauge", "gaugehistogram": "untyped", "": "untyped"}

// textSuffixes are what sample names of a kind have there after the family's name.
var textSuffixes = map[string][]string{
	"histogram": {"_bucket", "_count", "_sum"},
	"summary":   {"_count", "_sum"},
}

// textFamily returns the family of a metric in the text exposition format: but for
// histograms and summaries, each metric is a family of its own name. It returns
// false if nothing is known.
func (d Metadata) textFamily(metric string) (family, bool) {
	m, exact := d[metric]
	name := metric
	if !exact {
		if name, m = d.bySuffix(metric); m == nil {
			return family{}, false
		}
	}
	kind := kinds[m.GetType()]
	switch {
	case exact && kind == "histogram":
		// Some senders name the family like the sample.
		for _, suffix := range textSuffixes[kind] {
			if base, ok := strings.CutSuffix(metric, suffix); ok && base != "" && d[base] == nil {
				name = base
			}
		}
	case !exact && metric[len(name):] == "_created":
		return family{}, false
	case !exact && textSuffixes[kind] == nil:
		name = metric
	}
	return family{name: name, kind: cmp.Or(textKinds[kind], kind), help: m.GetHelp()}, true
}

// textHeadings writes HELP and TYPE of each family once.
type textHeadings struct {
	metadata Metadata
	byMetric map[string]*textHeading
	byFamily map[string]*textHeading
}

// textHeading is the heading of one family, without a kind as long as nothing is known.
type textHeading struct {
	family
	order   int // in which the families came
	written bool
}

// of returns the heading of a metric's family.
func (h *textHeadings) of(metric string) *textHeading {
	if heading, ok := h.byMetric[metric]; ok {
		return heading
	}
	if h.byMetric == nil {
		h.byMetric, h.byFamily = map[string]*textHeading{}, map[string]*textHeading{}
	}
	f, known := h.metadata.textFamily(metric)
	if !known {
		f.name = metric
	}
	heading := h.byFamily[f.name]
	if heading == nil {
		heading = &textHeading{order: len(h.byFamily)}
		h.byFamily[f.name] = heading
	}
	if known {
		heading.family = f
		h.byMetric[metric] = heading
	}
	return heading
}

// grouped returns the series with those of a family together, otherwise in the
// order in which they came.
func (h *textHeadings) grouped(all []*metricsv1.TimeSeries) []*metricsv1.TimeSeries {
	if h.metadata == nil {
		return all
	}
	type ordered struct {
		order  int
		series *metricsv1.TimeSeries
	}
	sorted := make([]ordered, len(all))
	for i, s := range all {
		name, _ := splitName(s.GetLabels())
		sorted[i] = ordered{h.of(name).order, s}
	}
	slices.SortStableFunc(sorted, func(a, b ordered) int { return cmp.Compare(a.order, b.order) })
	out := make([]*metricsv1.TimeSeries, len(all))
	for i, s := range sorted {
		out[i] = s.series
	}
	return out
}

// appendNew appends the heading of a metric's family the first time it comes.
func (h *textHeadings) appendNew(b []byte, metric string) []byte {
	if h.metadata == nil {
		return b
	}
	heading := h.of(metric)
	if heading.written || heading.kind == "" {
		return b
	}
	heading.written = true
	if heading.help != "" {
		b = appendHeadingLine(b, "HELP", heading.name, heading.help, false)
	}
	b = appendHeadingLine(b, "TYPE", heading.name, heading.kind, false)
	return b
}
