package cli

import (
	"bufio"
	"io"
	"os"
	"slices"
	"text/template"

	"google.golang.org/protobuf/encoding/protodelim"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// output prints series in one of the formats. What it wrote reaches the file
// with flush; close ends the document, if the format has an end.
type output interface {
	series([]*metricsv1.TimeSeries) error
	event(promgrpc.Update) error
	flush() error
	close() error
	// omitted says what came and the format has no words for, "" if nothing.
	omitted() string
}

// outputOptions is what the formats need to know.
type outputOptions struct {
	terminal bool // for eyes: aligned
	colour   bool
	events   bool
	ordered  bool // openmetrics: hold everything back, and sort it
	headless bool // csv: without the names of the columns
	families families
	template *template.Template
}

var outputNames = []string{"text", "table", "json", "openmetrics", "csv", "proto"}

// registerOutput adds --output to a command that has these formats. The variable
// is one for all commands: a format that only others have leaves this one with
// its default.
func registerOutput(cmd clause, help string, target *string, names ...string) {
	flag := option(cmd, "output", help).Short('o').Default("text")
	if wanted := os.Getenv(variable("output")); slices.Contains(outputNames, wanted) && !slices.Contains(names, wanted) {
		flag.NoEnvar()
	}
	flag.EnumVar(target, names...)
}

// registerCSV adds what concerns csv to a command that has it.
func registerCSV(cmd clause, header *bool) {
	option(cmd, "csv-header", "With --output csv: begin with the names of the columns. --no-csv-header is for output that is appended to a file.").
		Default("true").BoolVar(header)
}

func newOutput(name string, w io.Writer, o outputOptions) output {
	b := bufio.NewWriterSize(w, 64<<10)
	if o.template != nil {
		return &templateOutput{lines: lines{b: b}, template: o.template}
	}
	switch name {
	case "table":
		return newTable(b, o.terminal)
	case "json":
		return &jsonOutput{lines: lines{b: b}, events: o.events}
	case "openmetrics":
		return newOpenMetrics(b, o.families, o.ordered)
	case "csv":
		return newCSV(b, !o.headless, o.terminal)
	case "proto":
		return &protoOutput{lines: lines{b: b}}
	}
	return &textOutput{lines: lines{b: b}, heads: textHeads{families: o.families}, terminal: o.terminal, colour: o.colour}
}

// lines is what the outputs that go line by line have in common.
type lines struct {
	omissions
	b    *bufio.Writer
	line []byte
}

func (l *lines) event(promgrpc.Update) error { return nil }
func (l *lines) flush() error                { return l.b.Flush() }
func (l *lines) close() error                { return l.b.Flush() }

// protoOutput writes promgrpc.metrics.v1.TimeSeries messages as they came, each
// after its length as a varint.
type protoOutput struct{ lines }

func (p *protoOutput) series(all []*metricsv1.TimeSeries) error {
	for _, s := range all {
		if _, err := protodelim.MarshalTo(p.b, s); err != nil {
			return err
		}
	}
	return nil
}
