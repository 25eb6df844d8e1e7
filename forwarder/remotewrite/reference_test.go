package remotewrite

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/promgrpc/exporter/internal/segment"
)

// The tests compare this package with what Prometheus makes of the same bytes
// by its own generated code. content is what both are brought to.
type content struct {
	Labels     string
	Samples    []Sample
	Histograms []string
	Exemplars  []string
}

func decodedContent(t testing.TB, r *Request, withStart bool) []content {
	t.Helper()
	var out []content
	var from Series
	for i := range r.Series {
		s := &r.Series[i]
		ls, err := labelsOf(r, s)
		if err != nil {
			from = *s
			continue
		}
		var c content
		for _, l := range ls {
			c.Labels += fmt.Sprintf("%q=%q,", l.Name, l.Value)
		}
		c.Samples = append(c.Samples, r.Samples[from.SamplesEnd:s.SamplesEnd]...)
		for _, h := range r.Histograms[from.HistogramsEnd:s.HistogramsEnd] {
			var hp writev2.Histogram
			if err := hp.Unmarshal(h.Data); err != nil {
				t.Fatalf("histogram that was kept: %v", err)
			}
			if hp.Timestamp != h.Timestamp {
				t.Fatalf("histogram of %d is said to be of %d", hp.Timestamp, h.Timestamp)
			}
			text, err := histogramText(&hp)
			if err != nil {
				t.Fatalf("histogram that was kept: %v", err)
			}
			c.Histograms = append(c.Histograms, text)
		}
		for _, data := range r.Exemplars[from.ExemplarsEnd:s.ExemplarsEnd] {
			var e prompb.Exemplar
			if err := e.Unmarshal(data); err != nil {
				t.Fatalf("exemplar that was kept: %v", err)
			}
			c.Exemplars = append(c.Exemplars, exemplarText(&e))
		}
		out = append(out, c.start(withStart))
		from = *s
	}
	return out
}

// labelsOf returns the labels of a series, whose key has to be that of their
// canonical spelling.
func labelsOf(r *Request, s *Series) (segment.Labels, error) {
	labels, err := r.Labels(s, r.Key(s))
	if err != nil {
		return nil, err
	}
	var ls segment.Labels
	for _, index := range labels.Indexes {
		ls = append(ls, r.Label(index))
	}
	if labels.Key != canonicalKey(ls) {
		panic(fmt.Sprintf("another key than that of %v", ls))
	}
	return ls, nil
}

// canonicalKey is the key of the canonical spelling of labels.
func canonicalKey(ls segment.Labels) Key {
	var wire []byte
	for _, l := range ls {
		wire = segment.AppendLabel(wire, l.Name, l.Value)
	}
	return KeyOf(wire)
}

// wireOf returns the labels of a series as a 1.0 sender would spell them.
func wireOf(r *Request, s *Series) string {
	if len(s.refs) == 0 {
		return string(s.labels)
	}
	var wire []byte
	r.eachPair(s.refs, func(name, value []byte) bool {
		wire = segment.AppendLabel(wire, name, value)
		return true
	})
	return string(wire)
}

// start leaves the start timestamps out, unless they are wanted.
func (c *content) start(with bool) content {
	out := *c
	if !with {
		out.Samples, out.Histograms = slices.Clone(c.Samples), slices.Clone(c.Histograms)
		for i := range out.Samples {
			out.Samples[i].StartTimestamp = 0
		}
		for i, h := range out.Histograms {
			_, out.Histograms[i], _ = strings.Cut(h, " ")
		}
	}
	return out
}

// histogramText says what a histogram is, or why Prometheus would not have it.
func histogramText(hp *writev2.Histogram) (string, error) {
	var again writev2.Histogram
	if hp.IsFloatHistogram() {
		h := hp.ToFloatHistogram()
		if fine(h.Schema) {
			check := *h
			check.Schema = histogram.ExponentialSchemaMax
			if err := check.Validate(); err != nil {
				return "", err
			}
			if err := h.ReduceResolution(histogram.ExponentialSchemaMax); err != nil {
				return "", err
			}
		}
		if err := h.Validate(); err != nil {
			return "", err
		}
		again = writev2.FromFloatHistogram(0, hp.Timestamp, h)
	} else {
		h := hp.ToIntHistogram()
		if fine(h.Schema) {
			check := *h
			check.Schema = histogram.ExponentialSchemaMax
			if err := check.Validate(); err != nil {
				return "", err
			}
			if err := h.ReduceResolution(histogram.ExponentialSchemaMax); err != nil {
				return "", err
			}
		}
		if err := h.Validate(); err != nil {
			return "", err
		}
		again = writev2.FromIntHistogram(0, hp.Timestamp, h)
	}
	b, err := again.Marshal()
	return fmt.Sprintf("start=%d %x", hp.StartTimestamp, b), err
}

func fine(schema int32) bool {
	return histogram.IsExponentialSchemaReserved(schema) && schema > histogram.ExponentialSchemaMax
}

func exemplarText(e *prompb.Exemplar) string {
	e.XXX_unrecognized = nil
	for i := range e.Labels {
		e.Labels[i].XXX_unrecognized = nil
	}
	b, _ := e.Marshal()
	return fmt.Sprintf("%x", b)
}

// withoutEmpty leaves labels without a value out.
func withoutEmpty(e *prompb.Exemplar) *prompb.Exemplar {
	e.Labels = slices.DeleteFunc(e.Labels, func(l prompb.Label) bool { return l.Value == "" })
	return e
}

// finish adds a series to the content if Prometheus would store something of it.
func (c *content) finish(ls labels.Labels, out []content) []content {
	if len(c.Samples)+len(c.Histograms)+len(c.Exemplars) == 0 {
		return out
	}
	if !ls.Has(model.MetricNameLabel) || !ls.IsValid(model.UTF8Validation) {
		return out
	}
	if _, twice := ls.HasDuplicateLabelNames(); twice {
		return out
	}
	ls.Range(func(l labels.Label) {
		if l.Value != "" {
			c.Labels += fmt.Sprintf("%q=%q,", l.Name, l.Value)
		}
	})
	return append(out, *c)
}

func exemplarGood(ls []prompb.Label) bool {
	runes := 0
	for _, l := range ls {
		if runes += utf8.RuneCountInString(l.Name + l.Value); runes > exemplar.ExemplarMaxLabelSetLength {
			return false
		}
		if l.Name == "" || !model.UTF8Validation.IsValidLabelName(l.Name) || !model.LabelValue(l.Value).IsValid() {
			return false
		}
	}
	return true
}

func contentV1(req *prompb.WriteRequest) []content {
	var out []content
	for _, ts := range req.Timeseries {
		var c content
		for _, s := range ts.Samples {
			c.Samples = append(c.Samples, sampleOf(s.Timestamp, s.Value, 0))
		}
		for i := range ts.Histograms {
			b, _ := ts.Histograms[i].Marshal()
			var hp writev2.Histogram
			_ = hp.Unmarshal(b)
			if text, err := histogramText(&hp); err == nil {
				c.Histograms = append(c.Histograms, text)
			}
		}
		for i := range ts.Exemplars {
			if exemplarGood(ts.Exemplars[i].Labels) {
				c.Exemplars = append(c.Exemplars, exemplarText(withoutEmpty(&ts.Exemplars[i])))
			}
		}
		b := labels.NewScratchBuilder(0)
		out = c.finish(ts.ToLabels(&b, nil), out)
	}
	return out
}

func contentV2(req *writev2.Request) []content {
	var out []content
	for _, ts := range req.Timeseries {
		b := labels.NewScratchBuilder(0)
		ls, err := ts.ToLabels(&b, req.Symbols)
		if err != nil {
			continue
		}
		if _, err := ts.ToMetadata(req.Symbols); err != nil {
			continue
		}
		if len(ts.Samples)+len(ts.Histograms)+len(ts.Exemplars) == 0 {
			continue
		}
		var c content
		for _, s := range ts.Samples {
			c.Samples = append(c.Samples, sampleOf(s.Timestamp, s.Value, s.StartTimestamp))
		}
		for i := range ts.Histograms {
			b, _ := ts.Histograms[i].Marshal() // a copy: making it coarser changes it
			var hp writev2.Histogram
			_ = hp.Unmarshal(b)
			if text, err := histogramText(&hp); err == nil {
				c.Histograms = append(c.Histograms, text)
			}
		}
		for _, e := range ts.Exemplars {
			if x, ok := exemplarV1Of(e, req.Symbols); ok && exemplarGood(x.Labels) {
				c.Exemplars = append(c.Exemplars, exemplarText(withoutEmpty(&x)))
			}
		}
		out = c.finish(ls, out)
	}
	return out
}

func exemplarV1Of(e writev2.Exemplar, symbols []string) (prompb.Exemplar, bool) {
	x := prompb.Exemplar{Value: e.Value, Timestamp: e.Timestamp}
	if len(e.LabelsRefs)%2 != 0 {
		return x, false
	}
	for i := 0; i < len(e.LabelsRefs); i += 2 {
		n, v := e.LabelsRefs[i], e.LabelsRefs[i+1]
		if int(n) >= len(symbols) || int(v) >= len(symbols) {
			return x, false
		}
		x.Labels = append(x.Labels, prompb.Label{Name: symbols[n], Value: symbols[v]})
	}
	return x, true
}

func withoutStart(cs []content) []content {
	out := make([]content, len(cs))
	for i := range cs {
		out[i] = cs[i].start(false)
	}
	return out
}

func compare(t *testing.T, what string, want, got []content) {
	t.Helper()
	if len(want) == 0 && len(got) == 0 {
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s: Prometheus -, ours +:\n%s", what, diff)
	}
}
