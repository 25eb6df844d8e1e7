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

// textHeads writes HELP and TYPE of each family once.
type textHeads struct {
	metadata Metadata
	byMetric map[string]*textHead
	byFamily map[string]*textHead
}

// textHead is the head of one family, without a kind as long as nothing is known.
type textHead struct {
	family
	order   int // in which the families came
	written bool
}

// of returns the head of a metric's family.
func (h *textHeads) of(metric string) *textHead {
	if head, ok := h.byMetric[metric]; ok {
		return head
	}
	if h.byMetric == nil {
		h.byMetric, h.byFamily = map[string]*textHead{}, map[string]*textHead{}
	}
	f, known := h.metadata.textFamily(metric)
	if !known {
		f.name = metric
	}
	head := h.byFamily[f.name]
	if head == nil {
		head = &textHead{order: len(h.byFamily)}
		h.byFamily[f.name] = head
	}
	if known {
		head.family = f
		h.byMetric[metric] = head
	}
	return head
}

// grouped returns the series with those of a family together, otherwise in the
// order in which they came.
func (h *textHeads) grouped(all []*metricsv1.TimeSeries) []*metricsv1.TimeSeries {
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

// appendNew appends the head of a metric's family the first time it comes.
func (h *textHeads) appendNew(b []byte, metric string) []byte {
	if h.metadata == nil {
		return b
	}
	head := h.of(metric)
	if head.written || head.kind == "" {
		return b
	}
	head.written = true
	if head.help != "" {
		b = appendHeadLine(b, "HELP", head.name, head.help, false)
	}
	b = appendHeadLine(b, "TYPE", head.name, head.kind, false)
	return b
}
