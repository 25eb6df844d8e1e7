// Package output prints series for people and for programs: in one of the formats
// of --output, by a template, or as a table that is updated in place. It prints the
// answers of calls too, in columns or as JSON, and escapes what would control a
// terminal. It knows no command and no connection.
//
// Guaranteed: series are written as they came and in that order, unless the
// format's own comment says otherwise. What a format cannot express is left out and
// counted; an invalid histogram is no error. Not guaranteed: that anything reaches
// the writer before Flush returns, or before Close where a format holds data back.
package output

import (
	"bufio"
	"io"
	"text/template"

	"google.golang.org/protobuf/encoding/protodelim"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// Output prints series in one of the formats. Flush passes on what was written;
// Close ends the document, if the format has an end, and flushes.
type Output interface {
	Series([]*metricsv1.TimeSeries) error
	// Event prints what a response says besides its series, where the format shows
	// that.
	Event(Event) error
	Flush() error
	Close() error
	// Omitted says what was left out, "" if nothing.
	Omitted() string
}

// Options of the formats.
type Options struct {
	Terminal bool // align columns
	Colour   bool
	Events   bool
	Ordered  bool // openmetrics: hold everything back until Close, and sort it
	Headless bool // csv: without the names of the columns
	Metadata Metadata
	Template *template.Template // instead of a format
}

// Formats are the names that New knows.
var Formats = []string{"text", "table", "json", "openmetrics", "csv", "proto"}

// FormatChart is the name of the format that NewChart has, for queries.
const FormatChart = "chart"

// New returns the output of a format that writes to w.
func New(format string, w io.Writer, o Options) Output {
	b := bufio.NewWriterSize(w, 64<<10)
	if o.Template != nil {
		return &templateOutput{lines: lines{b: b}, template: o.Template}
	}
	switch format {
	case "table":
		return newTableOutput(b, o.Terminal)
	case "json":
		return &jsonOutput{lines: lines{b: b}, events: o.Events}
	case "openmetrics":
		return newOpenMetrics(b, o.Metadata, o.Ordered)
	case "csv":
		return newCSV(b, !o.Headless, o.Terminal)
	case "proto":
		return &protoOutput{lines: lines{b: b}}
	}
	return &textOutput{lines: lines{b: b}, headings: textHeadings{metadata: o.Metadata}, terminal: o.Terminal, colour: o.Colour}
}

// lines is what the line-by-line outputs share.
type lines struct {
	omissions
	b    *bufio.Writer
	line []byte
}

func (l *lines) Event(Event) error { return nil }
func (l *lines) Flush() error      { return l.b.Flush() }
func (l *lines) Close() error      { return l.b.Flush() }

// protoOutput writes promgrpc.metrics.v1.TimeSeries messages as they came, each
// preceded by its length as a varint.
type protoOutput struct{ lines }

func (p *protoOutput) Series(all []*metricsv1.TimeSeries) error {
	for _, s := range all {
		if _, err := protodelim.MarshalTo(p.b, s); err != nil {
			return err
		}
	}
	return nil
}
