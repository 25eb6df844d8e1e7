package output

import (
	"cmp"
	"slices"
	"strings"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// textKinds are the kinds of OpenMetrics that the text exposition format has not,
// by what they are there.
var textKinds = map[string]string{"info": "gauge", "stateset": "gauge", "gaugehistogram": "untyped", "": "untyped"}

// textSuffixes that the samples of a kind have there after the family's name.
var textSuffixes = map[string][]string{
	"histogram": {"_bucket", "_count", "_sum"},
	"summary":   {"_count", "_sum"},
}

// inText finds the family of a metric as the text exposition format has it: but for
// histograms and summaries, each metric is a family of its own name. There is none
// where nothing is known.
func (f Families) inText(metric string) (family, bool) {
	m, exact := f[metric]
	name := metric
	if !exact {
		if name, m = f.based(metric); m == nil {
			return family{}, false
		}
	}
	kind := kinds[m.GetType()]
	switch {
	case exact && kind == "histogram":
		// Some senders name the family as the sample.
		for _, suffix := range textSuffixes[kind] {
			if base, ok := strings.CutSuffix(metric, suffix); ok && base != "" && f[base] == nil {
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

// textHeads are the lines HELP and TYPE of the families, which come once.
type textHeads struct {
	families Families
	byMetric map[string]*textHead
	byFamily map[string]*textHead
}

// textHead is that of a family, of no kind as long as nothing is known.
type textHead struct {
	family
	place   int // among the families, in the order that they came
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
	f, known := h.families.inText(metric)
	if !known {
		f.name = metric
	}
	head := h.byFamily[f.name]
	if head == nil {
		head = &textHead{place: len(h.byFamily)}
		h.byFamily[f.name] = head
	}
	if known {
		head.family = f
		h.byMetric[metric] = head
	}
	return head
}

// grouped returns series with those of a family together, in the order that they
// came in otherwise.
func (h *textHeads) grouped(all []*metricsv1.TimeSeries) []*metricsv1.TimeSeries {
	if h.families == nil {
		return all
	}
	type placed struct {
		place  int
		series *metricsv1.TimeSeries
	}
	order := make([]placed, len(all))
	for i, s := range all {
		name, _ := splitName(s.GetLabels())
		order[i] = placed{h.of(name).place, s}
	}
	slices.SortStableFunc(order, func(a, b placed) int { return cmp.Compare(a.place, b.place) })
	out := make([]*metricsv1.TimeSeries, len(all))
	for i, o := range order {
		out[i] = o.series
	}
	return out
}

// appendNew appends the head of a metric's family, unless it was appended before.
func (h *textHeads) appendNew(b []byte, metric string) []byte {
	if h.families == nil {
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
