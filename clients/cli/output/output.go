// Package output prints series for people and for programs: in one of the formats
// of --output, by a template, or as a table that is drawn in place. It prints the
// answers of calls too, in columns or as JSON, and knows what a terminal must not
// be told. It knows no command and no connection.
//
// What is written to a format is what came, in the order that it came, unless the
// format's own comment says otherwise. What the format has no words for is left
// out and counted. A histogram that is not valid is no error. What was written may
// be in memory alone until Flush returns, and what a format holds back until Close
// does.
package output

import (
	"bufio"
	"io"
	"text/template"

	"google.golang.org/protobuf/encoding/protodelim"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// Output prints series in one of the formats. What it wrote reaches the file
// with Flush; Close ends the document, if the format has an end.
type Output interface {
	Series([]*metricsv1.TimeSeries) error
	Event(promgrpc.Update) error
	Flush() error
	Close() error
	// Omitted says what came and the format has no words for, "" if nothing.
	Omitted() string
}

// Options is what the formats need to know.
type Options struct {
	Terminal bool // for eyes: aligned
	Colour   bool
	Events   bool
	Ordered  bool // openmetrics: hold everything back, and sort it
	Headless bool // csv: without the names of the columns
	Families Families
	Template *template.Template // instead of a format
}

// Formats are the names that New knows.
var Formats = []string{"text", "table", "json", "openmetrics", "csv", "proto"}

// New returns the output of a format that writes to w.
func New(format string, w io.Writer, o Options) Output {
	b := bufio.NewWriterSize(w, 64<<10)
	if o.Template != nil {
		return &templateOutput{lines: lines{b: b}, template: o.Template}
	}
	switch format {
	case "table":
		return newTable(b, o.Terminal)
	case "json":
		return &jsonOutput{lines: lines{b: b}, events: o.Events}
	case "openmetrics":
		return newOpenMetrics(b, o.Families, o.Ordered)
	case "csv":
		return newCSV(b, !o.Headless, o.Terminal)
	case "proto":
		return &protoOutput{lines: lines{b: b}}
	}
	return &textOutput{lines: lines{b: b}, heads: textHeads{families: o.Families}, terminal: o.Terminal, colour: o.Colour}
}

// lines is what the outputs that go line by line have in common.
type lines struct {
	omissions
	b    *bufio.Writer
	line []byte
}

func (l *lines) Event(promgrpc.Update) error { return nil }
func (l *lines) Flush() error                { return l.b.Flush() }
func (l *lines) Close() error                { return l.b.Flush() }

// protoOutput writes promgrpc.metrics.v1.TimeSeries messages as they came, each
// after its length as a varint.
type protoOutput struct{ lines }

func (p *protoOutput) Series(all []*metricsv1.TimeSeries) error {
	for _, s := range all {
		if _, err := protodelim.MarshalTo(p.b, s); err != nil {
			return err
		}
	}
	return nil
}
