package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/value"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// openMetrics writes the OpenMetrics text format 1.0. Ordered, it holds
// everything back until close and writes each family once, with its metrics
// together and their points in order of time; a point that came twice is
// written once. Otherwise it writes what comes as it comes.
//
// The format has no word for stale markers, which are left out, nor for native
// histograms, which are written with classic buckets at their bounds. Series
// without a metric name cannot be written either.
type openMetrics struct {
	b        *bufio.Writer
	families families
	ordered  bool
	held     []*metricsv1.TimeSeries
	rows     []row
	known    map[string]family // by metric name
	natives  map[string]family
	headed   map[string]bool // by family name: TYPE and HELP were written
}

// row is a line of the document and its place.
type row struct {
	family    family
	group     string // labels but for le and quantile: the metric
	timestamp int64
	rank      int     // place of the suffix within a point
	bound     float64 // le or quantile
	line      []byte  // up to an exemplar
	exemplar  []byte
}

func newOpenMetrics(b *bufio.Writer, f families, ordered bool) *openMetrics {
	return &openMetrics{
		b: b, families: f, ordered: ordered,
		known: map[string]family{}, natives: map[string]family{}, headed: map[string]bool{},
	}
}

func (o *openMetrics) event(promgrpc.Update) error { return nil }

func (o *openMetrics) flush() error { return o.b.Flush() }

func (o *openMetrics) close() error {
	o.add(o.held)
	slices.SortStableFunc(o.rows, func(a, b row) int {
		return cmp.Or(
			cmp.Compare(a.family.name, b.family.name), cmp.Compare(a.family.kind, b.family.kind),
			cmp.Compare(a.group, b.group), cmp.Compare(a.timestamp, b.timestamp),
			cmp.Compare(a.rank, b.rank), cmp.Compare(a.bound, b.bound), bytes.Compare(a.line, b.line),
		)
	})
	o.rows = slices.CompactFunc(o.rows, func(a, b row) bool {
		return a.family.name == b.family.name && a.family.kind == b.family.kind && bytes.Equal(a.line, b.line)
	})
	if err := o.write(); err != nil {
		return err
	}
	if _, err := o.b.WriteString("# EOF\n"); err != nil {
		return err
	}
	return o.b.Flush()
}

func (o *openMetrics) series(all []*metricsv1.TimeSeries) error {
	if o.ordered {
		o.held = append(o.held, all...)
		return nil
	}
	o.add(all)
	return o.write()
}

func (o *openMetrics) add(all []*metricsv1.TimeSeries) {
	latest := map[string]int{} // by series: its row that an exemplar goes to
	exemplars := map[string]*metricsv1.Exemplar{}
	for _, s := range all {
		name, labels := splitName(s.GetLabels())
		if name == "" {
			continue
		}
		prefix := appendSeries(nil, name, labels)
		if last := len(s.GetExemplars()) - 1; last >= 0 {
			exemplars[string(prefix)] = s.GetExemplars()[last]
		}
		if row := o.floats(prefix, name, labels, s.GetSamples()); row >= 0 {
			if i, ok := latest[string(prefix)]; !ok || o.rows[i].timestamp < o.rows[row].timestamp {
				latest[string(prefix)] = row
			}
		}
		for _, h := range s.GetHistograms() {
			o.histogram(name, labels, h)
		}
	}
	for series, e := range exemplars {
		if i, ok := latest[series]; ok {
			o.rows[i].exemplar = appendExemplar(nil, e)
		}
	}
}

func (o *openMetrics) write() error {
	for i := range o.rows {
		r := &o.rows[i]
		if !o.headed[r.family.name] {
			o.headed[r.family.name] = true
			if _, err := o.b.Write(appendHead(nil, r.family)); err != nil {
				return err
			}
		}
		for _, part := range [][]byte{r.line, r.exemplar, {'\n'}} {
			if _, err := o.b.Write(part); err != nil {
				return err
			}
		}
	}
	o.rows = o.rows[:0]
	return nil
}

func appendHead(b []byte, f family) []byte {
	line := func(key, text string) {
		b = append(b, "# "+key+" "...)
		if model.LegacyValidation.IsValidMetricName(f.name) {
			b = append(b, f.name...)
		} else {
			b = appendQuoted(b, f.name)
		}
		b = append(b, ' ')
		b = appendEscaped(b, strings.ToValidUTF8(text, string(utf8.RuneError)), true)
		b = append(b, '\n')
	}
	line("TYPE", f.kind)
	if f.unit != "" {
		line("UNIT", f.unit)
	}
	if f.help != "" {
		line("HELP", f.help)
	}
	return b
}

func (o *openMetrics) family(name string, native bool) family {
	known := o.known
	if native {
		known = o.natives
	}
	f, ok := known[name]
	if !ok {
		f = o.families.of(name, native)
		known[name] = f
	}
	return f
}

// floats adds rows, and returns the index of the last one, or -1 if there is
// none or the format allows no exemplar there.
func (o *openMetrics) floats(prefix []byte, name string, labels []*metricsv1.Label, samples []*metricsv1.Sample) int {
	f := o.family(name, false)
	r := row{family: f, rank: rank(name[min(len(f.name), len(name)):])}
	r.group, r.bound = groupOf(f.kind, labels)
	last := -1
	for _, sample := range samples {
		if value.IsStaleNaN(sample.GetValue()) {
			continue
		}
		r.timestamp = sample.GetTimestamp()
		r.line = appendPoint(append(slices.Clip(prefix), ' '), sample.GetValue(), r.timestamp)
		last = len(o.rows)
		o.rows = append(o.rows, r)
	}
	if f.kind == "counter" && r.rank == 0 || strings.HasSuffix(f.kind, "histogram") && strings.HasSuffix(name, "_bucket") {
		return last
	}
	return -1
}

// groupOf returns the labels that name the metric, and the bound.
func groupOf(kind string, labels []*metricsv1.Label) (string, float64) {
	boundary := map[string]string{"histogram": "le", "gaugehistogram": "le", "summary": "quantile"}[kind]
	bound := math.Inf(-1)
	if boundary != "" {
		for i, l := range labels {
			if l.GetName() != boundary {
				continue
			}
			if v, err := strconv.ParseFloat(l.GetValue(), 64); err == nil {
				bound = v
			}
			labels = slices.Concat(labels[:i], labels[i+1:])
			break
		}
	}
	return string(appendLabels(nil, labels, false)), bound
}

// rank of a suffix within a point: values, count, sum, created.
func rank(suffix string) int {
	switch suffix {
	case "_count", "_gcount":
		return 1
	case "_sum", "_gsum":
		return 2
	case "_created":
		return 3
	}
	return 0
}

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
