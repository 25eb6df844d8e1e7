package output

import (
	"bytes"
	"encoding/json"
	"math"
	"text/template"
	"time"

	"github.com/prometheus/prometheus/model/value"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// record is what a template is applied to, one for each sample.
type record struct {
	// Series is name{labels}, Name the metric's name, Labels the other labels.
	Series string
	Name   string
	Labels map[string]string
	// Value as the text output writes it, and Number: NaN for a native histogram.
	Value  string
	Number float64
	// Timestamp in milliseconds, and Time the same in UTC.
	Timestamp int64
	Time      time.Time
	// Stale is set for a stale marker, Histogram for a native histogram.
	Stale, Histogram bool
}

var templateFunctions = template.FuncMap{
	// json encodes anything.
	"json": func(v any) (string, error) {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		err := e.Encode(v)
		return string(bytes.TrimRight(b.Bytes(), "\n")), err
	},
	// date formats a time by Go's layout.
	"date": func(layout string, t time.Time) string { return t.Format(layout) },
}

// ParseTemplate parses a --template and tries it, so that a field that does not
// exist is an error before anything is printed.
func ParseTemplate(text string) (*template.Template, error) {
	t, err := template.New("--template").Option("missingkey=zero").Funcs(templateFunctions).Parse(text)
	if err != nil {
		return nil, err
	}
	return t, t.Execute(&bytes.Buffer{}, record{Labels: map[string]string{}})
}

// templateOutput prints one line a sample by a template.
type templateOutput struct {
	lines
	template *template.Template
}

func (t *templateOutput) Series(all []*metricsv1.TimeSeries) error {
	for _, s := range all {
		name, labels := splitName(s.GetLabels())
		r := record{Series: string(appendSeries(nil, name, labels)), Name: name, Labels: make(map[string]string, len(labels))}
		for _, l := range labels {
			r.Labels[l.GetName()] = l.GetValue()
		}
		for _, sample := range s.GetSamples() {
			r.Value, r.Number = string(appendValue(nil, sample.GetValue())), sample.GetValue()
			r.Stale, r.Histogram = value.IsStaleNaN(sample.GetValue()), false
			if err := t.write(&r, sample.GetTimestamp()); err != nil {
				return err
			}
		}
		for _, h := range s.GetHistograms() {
			r.Value, r.Number = string(appendHistogram(nil, h)), math.NaN()
			r.Stale, r.Histogram = isStale(h), true
			if err := t.write(&r, h.GetTimestamp()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *templateOutput) write(r *record, timestamp int64) error {
	r.Timestamp, r.Time = timestamp, time.UnixMilli(timestamp).UTC()
	if err := t.template.Execute(t.b, r); err != nil {
		return err
	}
	return t.b.WriteByte('\n')
}
