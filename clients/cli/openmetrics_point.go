package cli

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/value"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func appendPoint(b []byte, v float64, timestamp int64) []byte {
	b = append(appendValue(b, v), ' ')
	return appendSeconds(b, timestamp)
}

// appendSeconds appends milliseconds as seconds.
func appendSeconds(b []byte, ms int64) []byte {
	if ms < 0 {
		b = append(b, '-')
	}
	abs := func(n int64) int64 { return max(n, -n) }
	b = strconv.AppendInt(b, abs(ms/1000), 10)
	if rest := abs(ms % 1000); rest > 0 {
		b = append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	}
	return b
}

// maxExemplar is the length of an exemplar's labels that the format allows.
const maxExemplar = 128

// appendExemplar appends an exemplar, if the format has room for it.
func appendExemplar(b []byte, e *metricsv1.Exemplar) []byte {
	size := 0
	for _, l := range e.GetLabels() {
		size += utf8.RuneCountInString(l.GetName()) + utf8.RuneCountInString(l.GetValue())
	}
	if size > maxExemplar || value.IsStaleNaN(e.GetValue()) {
		return b
	}
	b = append(b, " # {"...)
	b = appendLabels(b, e.GetLabels(), false)
	b = append(b, "} "...)
	b = appendValue(b, e.GetValue())
	if e.GetTimestamp() != 0 {
		b = appendSeconds(append(b, ' '), e.GetTimestamp())
	}
	return b
}

// histogram writes a native histogram as a classic one: cumulative counts up to
// each bound of its buckets.
func (o *openMetrics) histogram(name string, labels []*metricsv1.Label, h *metricsv1.Histogram) {
	native, err := floatHistogram(h)
	if isStale(h) || err != nil {
		return
	}
	f := o.family(name, true)
	count, sum := "_count", "_sum"
	if h.GetResetHint() == metricsv1.Histogram_RESET_HINT_GAUGE || f.kind == "gaugehistogram" {
		f.kind, count, sum = "gaugehistogram", "_gcount", "_gsum"
	} else if f.kind != "histogram" {
		f = family{name: name, kind: "histogram"}
	}
	r := row{family: f, timestamp: h.GetTimestamp(), group: string(appendLabels(nil, labels, false))}
	add := func(suffix string, labels []*metricsv1.Label, v float64) {
		r.rank = rank(suffix)
		r.line = append(appendSeries(nil, name+suffix, labels), ' ')
		r.line = appendPoint(r.line, v, r.timestamp)
		o.rows = append(o.rows, r)
	}
	bucket := func(le string, v float64) {
		// le has its place among the sorted labels.
		i, _ := slices.BinarySearchFunc(labels, "le", func(l *metricsv1.Label, n string) int { return cmp.Compare(l.GetName(), n) })
		add("_bucket", slices.Insert(slices.Clone(labels), i, &metricsv1.Label{Name: "le", Value: le}), v)
	}
	cumulative, negative := 0.0, false
	for it := native.AllBucketIterator(); it.Next(); {
		at := it.At()
		cumulative += at.Count
		negative = negative || at.Upper < 0 && at.Count != 0
		if r.bound = at.Upper; at.Count != 0 && !math.IsInf(at.Upper, 1) {
			bucket(bound(at.Upper), cumulative)
		}
	}
	r.bound = math.Inf(1)
	bucket("+Inf", native.Count)
	add(count, labels, native.Count)
	// A sum that negative observations can lower is not a counter.
	if !negative || f.kind == "gaugehistogram" {
		add(sum, labels, native.Sum)
	}
}

// bound is a number in the canonical form for le, a float always.
func bound(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".eIN") {
		s += ".0"
	}
	return s
}
