package cli

import (
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/value"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// maxAlign is the widest column that the others are aligned to on a terminal.
const maxAlign = 80

const (
	bold  = "\x1b[1m"
	faint = "\x1b[2m"
	plain = "\x1b[0m"
)

// textOutput has a sample a line, in the text exposition format. What that has
// no words for, stale markers and native histograms, is in comments: a line like
// the others behind a "# ", which parsers pass over. On a terminal the values of
// one response stand below each other.
type textOutput struct {
	lines
	terminal, colour bool
}

func (t *textOutput) series(all []*metricsv1.TimeSeries) error {
	width := 0
	if t.terminal {
		for _, s := range all {
			name, labels := splitName(s.GetLabels())
			t.line = appendSeries(t.line[:0], name, labels)
			if n := utf8.RuneCount(t.line); n <= maxAlign {
				width = max(width, n)
			}
		}
	}
	for _, s := range all {
		name, labels := splitName(s.GetLabels())
		b := appendSeries(t.line[:0], name, labels)
		for n := utf8.RuneCount(b); n < width; n++ {
			b = append(b, ' ')
		}
		prefix := append(b, ' ')
		for _, sample := range s.GetSamples() {
			b = t.sample(prefix, sample.GetTimestamp(), func(b []byte) []byte { return appendValue(b, sample.GetValue()) })
			if err := t.write(b, value.IsStaleNaN(sample.GetValue())); err != nil {
				return err
			}
		}
		for _, h := range s.GetHistograms() {
			b = t.sample(prefix, h.GetTimestamp(), func(b []byte) []byte { return appendHistogram(b, h) })
			if err := t.write(b, true); err != nil {
				return err
			}
		}
		t.line = b[:0]
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
