package output

import (
	"bufio"
	"bytes"
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/value"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// openMetrics writes the OpenMetrics text format 1.0. Ordered, it holds
// everything back until Close and writes each family once, with its metrics
// together and their points in order of time; a point that came twice is
// written once. Otherwise it writes series as they come.
//
// Native histograms are written with classic buckets at their bounds. What the
// format cannot express is left out and counted: stale markers, series without a
// name, exemplars beyond one a sample, and start timestamps of kinds that do not
// count.
type openMetrics struct {
	omissions
	b        *bufio.Writer
	metadata Metadata
	ordered  bool
	held     []*metricsv1.TimeSeries
	rows     []row
	classic  map[string]family // by metric name, of floats
	native   map[string]family // and of native histograms
	starts   starts            // of the series that are being added
	headed   map[string]bool   // by family name: TYPE and HELP were written
}

// row is a line of the document and what it is sorted by.
type row struct {
	family    family
	group     string // labels but for le and quantile: the metric
	timestamp int64
	rank      int     // order of the suffix within a point
	bound     float64 // le or quantile
	line      []byte  // up to an exemplar
	exemplar  []byte
}

func newOpenMetrics(b *bufio.Writer, m Metadata, ordered bool) *openMetrics {
	return &openMetrics{
		b: b, metadata: m, ordered: ordered,
		classic: map[string]family{}, native: map[string]family{}, headed: map[string]bool{},
	}
}

func (o *openMetrics) Event(Event) error { return nil }

func (o *openMetrics) Flush() error { return o.b.Flush() }

func (o *openMetrics) Close() error {
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

func (o *openMetrics) Series(all []*metricsv1.TimeSeries) error {
	if o.ordered {
		o.held = append(o.held, all...)
		return nil
	}
	o.add(all)
	return o.write()
}

func (o *openMetrics) add(all []*metricsv1.TimeSeries) {
	exemplars := exemplarsOf(all)
	o.starts = starts{}
	for _, s := range all {
		name, labels := splitName(s.GetLabels())
		if name == "" {
			o.omit(namelessSeries, len(s.GetSamples())+len(s.GetHistograms()))
			continue
		}
		prefix := appendSeries(nil, name, labels)
		c := exemplars[string(prefix)]
		o.floats(prefix, name, labels, s.GetSamples(), c)
		for _, h := range s.GetHistograms() {
			o.histogram(name, labels, h, c)
		}
	}
	for _, c := range exemplars {
		o.attach(c)
	}
	o.rows = o.starts.appendTo(o.rows)
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

// appendHead appends the lines that declare a family.
func appendHead(b []byte, f family) []byte {
	b = appendHeadingLine(b, "TYPE", f.name, f.kind, true)
	if f.unit != "" {
		b = appendHeadingLine(b, "UNIT", f.name, f.unit, true)
	}
	if f.help != "" {
		b = appendHeadingLine(b, "HELP", f.name, f.help, true)
	}
	return b
}

func (o *openMetrics) family(name string, native bool) family {
	known := o.classic
	if native {
		known = o.native
	}
	f, ok := known[name]
	if !ok {
		f = o.metadata.family(name, native)
		known[name] = f
	}
	return f
}

// floats adds a row for each sample.
func (o *openMetrics) floats(prefix []byte, name string, labels []*metricsv1.Label, samples []*metricsv1.Sample, c *carried) {
	f := o.family(name, false)
	r := row{family: f, rank: rank(name[min(len(f.name), len(name)):])}
	metric, bound := metricOf(f.kind, labels)
	r.group, r.bound = string(appendLabels(nil, metric, false)), bound
	created := r.rank == rank("_created")
	exemplars := f.kind == "counter" && !created || strings.HasSuffix(f.kind, "histogram") && strings.HasSuffix(name, "_bucket")
	for _, sample := range samples {
		if value.IsStaleNaN(sample.GetValue()) {
			o.omit(staleMarkers, 1)
			continue
		}
		r.timestamp = sample.GetTimestamp()
		r.line = appendPoint(append(slices.Clip(prefix), ' '), sample.GetValue(), r.timestamp)
		o.rows = append(o.rows, r)
		if exemplars {
			c.at(r.timestamp, len(o.rows)-1, len(o.rows))
		}
		if created {
			o.starts.mark(keyOf(&r))
		} else if start := sample.GetStartTimestamp(); start != 0 && !o.starts.add(r, metric, start) {
			o.omit(startTimestamps, 1)
		}
	}
}

// metricOf returns the labels that identify the metric, and the bound.
func metricOf(kind string, labels []*metricsv1.Label) ([]*metricsv1.Label, float64) {
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
			return slices.Concat(labels[:i], labels[i+1:]), bound
		}
	}
	return labels, bound
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
