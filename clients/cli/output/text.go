package output

import (
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/value"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// maxAlign is the widest series that others are aligned with on a terminal.
const maxAlign = 80

// textOutput prints one sample a line, in the text exposition format, and before
// the first one of a family its HELP and TYPE. What the format cannot express
// (stale markers, native histograms, exemplars) is a comment: a line like the
// others after a "# ", which parsers skip. On a terminal the values of one response
// are aligned.
type textOutput struct {
	lines
	headings         textHeadings
	terminal, colour bool
}

func (t *textOutput) Series(all []*metricsv1.TimeSeries) error {
	all = t.headings.grouped(all)
	width := t.width(all)
	for _, s := range all {
		name, labels := splitName(s.GetLabels())
		t.line = t.headings.appendNew(t.line[:0], name)
		if err := t.write(t.line, false); err != nil {
			return err
		}
		b := appendSeries(t.line[:0], name, labels)
		for n := utf8.RuneCount(b); n < width; n++ {
			b = append(b, ' ')
		}
		if err := t.entries(append(b, ' '), s); err != nil {
			return err
		}
		t.line = b[:0]
	}
	return nil
}

// width returns the column of the values of one response.
func (t *textOutput) width(all []*metricsv1.TimeSeries) (width int) {
	if !t.terminal {
		return 0
	}
	for _, s := range all {
		name, labels := splitName(s.GetLabels())
		t.line = appendSeries(t.line[:0], name, labels)
		if n := utf8.RuneCount(t.line); n <= maxAlign {
			width = max(width, n)
		}
	}
	return width
}

// entries writes each sample and exemplar of a series after the prefix.
func (t *textOutput) entries(prefix []byte, s *metricsv1.TimeSeries) error {
	for _, sample := range s.GetSamples() {
		t.omitStart(sample.GetStartTimestamp())
		b := t.sample(prefix, sample.GetTimestamp(), func(b []byte) []byte { return appendValue(b, sample.GetValue()) })
		if err := t.write(b, value.IsStaleNaN(sample.GetValue())); err != nil {
			return err
		}
	}
	for _, h := range s.GetHistograms() {
		t.omitStart(h.GetStartTimestamp())
		b := t.sample(prefix, h.GetTimestamp(), func(b []byte) []byte { return appendHistogram(b, h) })
		if err := t.write(b, true); err != nil {
			return err
		}
	}
	for _, e := range s.GetExemplars() {
		b := append(appendLabels(append(prefix, "# {"...), e.GetLabels(), false), "} "...)
		if at := e.GetTimestamp(); at != 0 {
			b = t.sample(b, at, func(b []byte) []byte { return appendValue(b, e.GetValue()) })
		} else {
			b = append(appendValue(b, e.GetValue()), '\n')
		}
		if err := t.write(b, true); err != nil {
			return err
		}
	}
	return nil
}

func (t *textOutput) write(line []byte, comment bool) error {
	if comment {
		if _, err := t.b.WriteString("# "); err != nil {
			return err
		}
	}
	_, err := t.b.Write(line)
	return err
}

func (t *textOutput) sample(b []byte, timestamp int64, value func([]byte) []byte) []byte {
	if t.colour {
		b = append(value(append(b, bold...)), plain+" "+faint...)
		b = strconv.AppendInt(b, timestamp, 10)
		return append(b, plain+"\n"...)
	}
	b = append(value(b), ' ')
	b = strconv.AppendInt(b, timestamp, 10)
	return append(b, '\n')
}
