package output

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// staleToken stands for a stale marker in formats that have none.
const staleToken = "StaleNaN"

const nameLabel = model.MetricNameLabel

// splitName returns the metric name and the other labels.
func splitName(labels []*metricsv1.Label) (string, []*metricsv1.Label) {
	for i, l := range labels {
		if l.GetName() != nameLabel {
			continue
		}
		if i == 0 {
			return l.GetValue(), labels[1:]
		}
		rest := make([]*metricsv1.Label, 0, len(labels)-1)
		rest = append(rest, labels[:i]...)
		return l.GetValue(), append(rest, labels[i+1:]...)
	}
	return "", labels
}

// appendSeries appends name{labels} in the text exposition format; names
// outside the classic character set are quoted, inside the braces.
func appendSeries(b []byte, name string, labels []*metricsv1.Label) []byte {
	quoted := name != "" && !model.LegacyValidation.IsValidMetricName(name)
	if !quoted {
		b = append(b, name...)
		if len(labels) == 0 && name != "" {
			return b
		}
	}
	b = append(b, '{')
	if quoted {
		b = appendQuoted(b, name)
	}
	b = appendLabels(b, labels, quoted)
	return append(b, '}')
}

func appendLabels(b []byte, labels []*metricsv1.Label, comma bool) []byte {
	for _, l := range labels {
		if comma {
			b = append(b, ',')
		}
		comma = true
		if model.LegacyValidation.IsValidLabelName(l.GetName()) {
			b = append(b, l.GetName()...)
		} else {
			b = appendQuoted(b, l.GetName())
		}
		b = append(b, '=')
		b = appendQuoted(b, l.GetValue())
	}
	return b
}

// appendQuoted escapes as the text exposition format does.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	b = appendEscaped(b, s, true)
	return append(b, '"')
}

// appendHeadingLine appends a line about a family, such as its HELP. OpenMetrics
// escapes quotes, the text format does not.
func appendHeadingLine(b []byte, key, family, text string, quotes bool) []byte {
	b = append(b, "# "+key+" "...)
	if model.LegacyValidation.IsValidMetricName(family) {
		b = append(b, family...)
	} else {
		b = appendQuoted(b, family)
	}
	b = append(b, ' ')
	b = appendEscaped(b, strings.ToValidUTF8(text, string(utf8.RuneError)), quotes)
	return append(b, '\n')
}

func appendEscaped(b []byte, s string, quotes bool) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\\':
			b = append(b, `\\`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '"' && quotes:
			b = append(b, `\"`...)
		default:
			b = append(b, c)
		}
	}
	return b
}

// appendValue appends a value as the text exposition format writes it.
func appendValue(b []byte, v float64) []byte {
	switch {
	case value.IsStaleNaN(v):
		return append(b, staleToken...)
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

// appendAPIValue appends a value as Prometheus' HTTP API writes it.
func appendAPIValue(b []byte, v float64) []byte {
	switch abs := math.Abs(v); {
	case value.IsStaleNaN(v):
		return append(b, staleToken...)
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case abs != 0 && (abs < 1e-6 || abs >= 1e21):
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// appendJSONString appends s as a JSON string. Bytes that are not UTF-8 become
// the replacement character.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c < 0x20:
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
			continue
		}
		i++
	}
	return append(b, '"')
}

// isStale reports whether a histogram is a stale marker.
func isStale(h *metricsv1.Histogram) bool { return value.IsStaleNaN(h.GetSum()) }

// floatHistogram converts a histogram for reading. It returns an error if
// Prometheus' code could not walk its buckets.
func floatHistogram(h *metricsv1.Histogram) (*histogram.FloatHistogram, error) {
	var f *histogram.FloatHistogram
	var err error
	if _, ok := h.GetCount().(*metricsv1.Histogram_CountFloat); ok {
		f = &histogram.FloatHistogram{
			Schema: h.GetSchema(), ZeroThreshold: h.GetZeroThreshold(), ZeroCount: h.GetZeroCountFloat(),
			Count: h.GetCountFloat(), Sum: h.GetSum(),
			PositiveSpans: spans(h.GetPositiveSpans()), PositiveBuckets: h.GetPositiveCounts(),
			NegativeSpans: spans(h.GetNegativeSpans()), NegativeBuckets: h.GetNegativeCounts(),
			CustomValues: h.GetCustomValues(),
		}
		err = f.Validate()
	} else {
		i := intHistogram(h)
		if err = i.Validate(); walkable(err) {
			f = i.ToFloat(nil)
		}
	}
	if !walkable(err) {
		return nil, err
	}
	f.CounterResetHint = histogram.CounterResetHint(h.GetResetHint())
	return f, nil
}

// walkable reports whether a validation error leaves the buckets readable.
func walkable(err error) bool {
	return err == nil || errors.Is(err, histogram.ErrHistogramCountMismatch) || errors.Is(err, histogram.ErrHistogramCountNotBigEnough)
}

func intHistogram(h *metricsv1.Histogram) *histogram.Histogram {
	return &histogram.Histogram{
		Schema: h.GetSchema(), ZeroThreshold: h.GetZeroThreshold(), ZeroCount: h.GetZeroCountInt(),
		Count: h.GetCountInt(), Sum: h.GetSum(),
		PositiveSpans: spans(h.GetPositiveSpans()), PositiveBuckets: h.GetPositiveDeltas(),
		NegativeSpans: spans(h.GetNegativeSpans()), NegativeBuckets: h.GetNegativeDeltas(),
		CustomValues: h.GetCustomValues(),
	}
}

func spans(in []*metricsv1.BucketSpan) []histogram.Span {
	out := make([]histogram.Span, len(in))
	for i, s := range in {
		out[i] = histogram.Span{Offset: s.GetOffset(), Length: s.GetLength()}
	}
	return out
}

// appendHistogram appends a histogram in Prometheus' own string form.
func appendHistogram(b []byte, h *metricsv1.Histogram) []byte {
	if isStale(h) {
		return append(b, staleToken...)
	}
	f, err := floatHistogram(h)
	if err != nil {
		b = append(b, "{invalid:"...)
		b = appendQuoted(b, err.Error())
		return append(b, '}')
	}
	if _, ok := h.GetCount().(*metricsv1.Histogram_CountFloat); ok {
		return append(b, f.String()...)
	}
	return append(b, intHistogram(h).String()...)
}
