package output

import (
	"bufio"
	"strconv"
	"strings"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// csvOutput has the columns timestamp (ms), value, name and labels, as in RFC 4180.
// encoding/csv is not used since it rewrites carriage returns within values.
type csvOutput struct {
	lines
	end string // of a line
}

// newCSV writes the names of the columns first if header is set. On a terminal
// lines end without a carriage return.
func newCSV(b *bufio.Writer, header, terminal bool) *csvOutput {
	c := &csvOutput{lines: lines{b: b}, end: "\r\n"}
	if terminal {
		c.end = "\n"
	}
	if header {
		_, _ = b.WriteString("timestamp,value,name,labels" + c.end) // Flush returns the error
	}
	return c
}

func (c *csvOutput) Series(all []*metricsv1.TimeSeries) error {
	for _, s := range all {
		c.omit(exemplarsOfAll, len(s.GetExemplars()))
		name, labels := splitName(s.GetLabels())
		series := append(appendField([]byte{','}, name), ',')
		series = append(appendField(series, string(appendSeries(nil, "", labels))), c.end...)
		for _, sample := range s.GetSamples() {
			c.omitStart(sample.GetStartTimestamp())
			b := append(strconv.AppendInt(c.line[:0], sample.GetTimestamp(), 10), ',')
			if err := c.write(append(appendValue(b, sample.GetValue()), series...)); err != nil {
				return err
			}
		}
		for _, h := range s.GetHistograms() {
			c.omitStart(h.GetStartTimestamp())
			b := append(strconv.AppendInt(c.line[:0], h.GetTimestamp(), 10), ',')
			b = appendField(b, string(appendHistogram(nil, h)))
			if err := c.write(append(b, series...)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *csvOutput) write(line []byte) error {
	c.line = line[:0]
	_, err := c.b.Write(line)
	return err
}

// appendField quotes a field if needed, and leaves its bytes alone.
func appendField(b []byte, s string) []byte {
	if !strings.ContainsAny(s, ",\"\r\n") {
		return append(b, s...)
	}
	b = append(b, '"')
	b = append(b, strings.ReplaceAll(s, `"`, `""`)...)
	return append(b, '"')
}
