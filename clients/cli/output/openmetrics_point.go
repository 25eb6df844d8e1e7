package output

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/histogram"

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

// histogram writes a native histogram as a classic one.
func (o *openMetrics) histogram(name string, labels []*metricsv1.Label, h *metricsv1.Histogram, c *carried) {
	native, err := floatHistogram(h)
	switch {
	case isStale(h):
		o.omit(staleMarkers, 1)
		return
	case err != nil:
		o.omit(invalidHistograms, 1)
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
	from := len(o.rows)
	negative := o.buckets(r, labels, native)
	c.at(r.timestamp, from, len(o.rows))
	o.part(r, count, labels, native.Count)
	// A sum that negative observations can lower is not a counter.
	if !negative || f.kind == "gaugehistogram" {
		o.part(r, sum, labels, native.Sum)
	} else {
		o.omit(negativeSums, 1)
	}
	if start := h.GetStartTimestamp(); start != 0 && !o.starts.add(r, labels, start) {
		o.omit(startTimestamps, 1)
	}
}

// buckets adds the cumulative count up to each bound, and reports whether there
// are negative observations.
func (o *openMetrics) buckets(r row, labels []*metricsv1.Label, h *histogram.FloatHistogram) (negative bool) {
	bucket := func(upper float64, le string, v float64) {
		// Labels stay sorted.
		i, _ := slices.BinarySearchFunc(labels, "le", func(l *metricsv1.Label, n string) int { return cmp.Compare(l.GetName(), n) })
		r.bound = upper
		o.part(r, "_bucket", slices.Insert(slices.Clone(labels), i, &metricsv1.Label{Name: "le", Value: le}), v)
	}
	cumulative := 0.0
	for it := h.AllBucketIterator(); it.Next(); {
		at := it.At()
		cumulative += at.Count
		negative = negative || at.Upper < 0 && at.Count != 0
		if at.Count != 0 && !math.IsInf(at.Upper, 1) {
			bucket(at.Upper, bound(at.Upper), cumulative)
		}
	}
	bucket(math.Inf(1), "+Inf", h.Count)
	return negative
}

// part adds a row of a point.
func (o *openMetrics) part(r row, suffix string, labels []*metricsv1.Label, v float64) {
	r.rank = rank(suffix)
	r.line = append(appendSeries(nil, r.family.name+suffix, labels), ' ')
	r.line = appendPoint(r.line, v, r.timestamp)
	o.rows = append(o.rows, r)
}

// bound returns a number in the canonical form of le, which is always a float.
func bound(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".eIN") {
		s += ".0"
	}
	return s
}
