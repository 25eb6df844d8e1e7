package promql

import (
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/util/annotations"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// HistogramMessage is a histogram that an expression results in, as the API has it. It
// says nothing of what came before it, unless it is a gauge: that depends on how much was
// read at a time.
func HistogramMessage(ms int64, h *histogram.FloatHistogram) *metricsv1.Histogram {
	m := &metricsv1.Histogram{
		Count: &metricsv1.Histogram_CountFloat{CountFloat: h.Count}, Sum: h.Sum, Schema: h.Schema,
		ZeroThreshold: h.ZeroThreshold, ZeroCount: &metricsv1.Histogram_ZeroCountFloat{ZeroCountFloat: h.ZeroCount},
		NegativeSpans: spans(h.NegativeSpans), NegativeCounts: h.NegativeBuckets,
		PositiveSpans: spans(h.PositiveSpans), PositiveCounts: h.PositiveBuckets,
		CustomValues: h.CustomValues, Timestamp: ms,
	}
	if h.CounterResetHint == histogram.GaugeType {
		m.ResetHint = metricsv1.Histogram_RESET_HINT_GAUGE
	}
	return m
}

func spans(of []histogram.Span) []*metricsv1.BucketSpan {
	all := make([]*metricsv1.BucketSpan, len(of))
	for i, s := range of {
		all[i] = &metricsv1.BucketSpan{Offset: s.Offset, Length: s.Length}
	}
	return all
}

// AnnotationMessages are the annotations of an expression of this text, as the API has
// them: warnings before infos, sorted.
func AnnotationMessages(of annotations.Annotations, text string) []*queryv1.Annotation {
	warnings, infos := of.AsStrings(text, 0, 0)
	all := make([]*queryv1.Annotation, 0, len(warnings)+len(infos))
	for _, kind := range []struct {
		severity queryv1.Annotation_Severity
		texts    []string
	}{{queryv1.Annotation_SEVERITY_WARNING, warnings}, {queryv1.Annotation_SEVERITY_INFO, infos}} {
		slices.Sort(kind.texts)
		for _, text := range kind.texts {
			all = append(all, &queryv1.Annotation{Severity: kind.severity, Text: text})
		}
	}
	return all
}
