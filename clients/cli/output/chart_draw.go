package output

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// frame is what surrounds a chart.
type frame struct{ side, tick, corner, bottom, mark string }

var (
	unicodeFrame = frame{"│", "┤", "└", "─", "┬"}
	asciiFrame   = frame{"|", "+", "+", "-", "+"}
)

// minPlot is the least size of the lines' place.
const minPlot = 3

// draw draws the lines with their axes, and a legend below.
func (c *chart) draw(width, height int, _ time.Time) ([]string, string) {
	all := c.sorted()
	low, high, start, end := c.bounds(all)
	if low > high {
		return []string{"no values to draw"}, c.status()
	}
	legend := c.legend(all, width, max(1, height/4))
	rows := max(minPlot, height-2-len(legend))
	s := newScale(low, high, max(2, rows/3))
	labels, column := c.valueLabels(s, rows)
	plot := newCanvas(max(minPlot, width-column-1), rows, c.o.Unicode && (c.o.Colour || len(all) == 1))
	// The first ones are on top.
	for i := len(all) - 1; i >= 0; i-- {
		c.drawLine(plot, s, all[i], start, end)
	}
	f := asciiFrame
	if c.o.Unicode {
		f = unicodeFrame
	}
	var lines []string
	for y := range rows {
		side := f.side
		if labels[y] != "" {
			side = f.tick
		}
		lines = append(lines, left(labels[y], column)+side+strings.TrimRight(plot.row(y, c.o.Colour), " "))
	}
	lines = append(lines, timeAxis(f, column, plot.width, start, end)...)
	return append(lines, legend...), c.status()
}

// bounds returns those of the values and of the times. There are no values if low is
// more than high.
func (c *chart) bounds(all []*chartLine) (low, high float64, start, end int64) {
	low, high, start, end = math.Inf(1), math.Inf(-1), math.MaxInt64, c.newest
	for _, l := range all {
		for _, p := range l.points {
			if !math.IsNaN(p.value) {
				low, high, start = min(low, p.value), max(high, p.value), min(start, p.at)
			}
		}
	}
	if c.o.Span > 0 {
		start = max(start, end-c.o.Span.Milliseconds())
	}
	if start >= end {
		start = end - max(1, c.o.Step.Milliseconds())
	}
	return low, high, start, end
}

// valueLabels returns the labels of the rows, "" for most, and how wide they are.
func (c *chart) valueLabels(s scale, rows int) (labels []string, width int) {
	labels = make([]string, rows)
	for _, v := range s.ticks {
		if row := s.row(v, rows); row >= 0 && row < rows && labels[row] == "" {
			labels[row] = s.label(v, c.o.Unicode)
			width = max(width, utf8.RuneCountInString(labels[row]))
		}
	}
	return labels, max(width, len("UTC"))
}

func (c *chart) drawLine(to *canvas, s scale, l *chartLine, start, end int64) {
	columns, rows := to.width*to.across, to.height*to.down
	x := func(at int64) int {
		return place(float64(at-start)/float64(end-start), columns)
	}
	for i, p := range l.points {
		if math.IsNaN(p.value) {
			continue
		}
		x0, y0 := x(p.at), s.row(p.value, rows)
		switch {
		case i+1 < len(l.points) && c.o.Held:
			next := l.points[i+1]
			x1 := x(next.at)
			to.line(x0, y0, x1, y0, l.number)
			if !math.IsNaN(next.value) {
				to.line(x1, y0, x1, s.row(next.value, rows), l.number)
			}
		case c.o.Held:
			to.line(x0, y0, x(end), y0, l.number)
		case i+1 < len(l.points) && !math.IsNaN(l.points[i+1].value):
			to.line(x0, y0, x(l.points[i+1].at), s.row(l.points[i+1].value, rows), l.number)
		default:
			to.dot(x0, y0, l.number)
		}
	}
}

// timeAxis returns the line below the chart, and the times below that.
func timeAxis(f frame, column, width int, start, end int64) []string {
	ticks, layout := timeTicks(start, end, width)
	axis := make([]string, width)
	for i := range axis {
		axis[i] = f.bottom
	}
	times := []byte(strings.Repeat(" ", column+1+width))
	copy(times[column-len("UTC"):], "UTC")
	free := column + 1 // where the next label may begin
	for _, t := range ticks {
		at := place(float64(t-start)/float64(end-start), width)
		axis[at] = f.mark
		text := time.UnixMilli(t).UTC().Format(layout)
		from := min(max(column+1, column+1+at-len(text)/2), len(times)-len(text))
		if from >= free {
			copy(times[from:], text)
			free = from + len(text) + 1
		}
	}
	return []string{left("", column) + f.corner + strings.Join(axis, ""), strings.TrimRight(string(times), " ")}
}

// legend returns what the lines are, with their last values, in as many columns as fit
// and in at most so many rows.
func (c *chart) legend(all []*chartLine, width, rows int) []string {
	const space = 2
	longest := 0
	entries := make([]string, len(all))
	for i, l := range all {
		last := shortValue(l.last, c.o.Unicode)
		if l.gone {
			last = "gone"
		}
		entries[i] = fmt.Sprintf("%s %s", visible(l.name), last)
		longest = max(longest, utf8.RuneCountInString(entries[i])+2)
	}
	columns := max(1, min((width+space)/(longest+space), (len(all)+rows-1)/rows))
	cell := (width - (columns-1)*space) / columns
	fits := rows * columns
	if len(all) > fits {
		fits = max(0, fits-columns) // The last row says how many more there are.
	}
	var lines []string
	for from := 0; from < min(fits, len(all)); from += columns {
		var line strings.Builder
		for i := from; i < min(from+columns, len(all), fits); i++ {
			line.WriteString(c.entry(all[i], cell))
			if i+1 < from+columns {
				line.WriteString(strings.Repeat(" ", space))
			}
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	if more := len(all) - fits; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// entry returns one of the legend, exactly this wide.
func (c *chart) entry(l *chartLine, width int) string {
	last := shortValue(l.last, c.o.Unicode)
	if l.gone {
		last = "gone"
	}
	sample := string(letter(l.number))
	if c.o.Colour {
		sample = colourOf(l.number) + c.stroke() + plain
	} else if c.o.Unicode && len(c.lines) == 1 {
		sample = c.stroke()
	}
	name := shortened(visible(l.name), max(1, width-3-utf8.RuneCountInString(last)), c.o.Unicode)
	text := name + " " + last
	return sample + " " + text + strings.Repeat(" ", max(0, width-2-utf8.RuneCountInString(text)))
}

func (c *chart) stroke() string {
	if c.o.Unicode {
		return "━"
	}
	return "-"
}

// shortened cuts a text to a width, and marks that.
func shortened(s string, width int, unicode bool) string {
	mark := "..."
	if unicode {
		mark = "…"
	}
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:max(0, width-utf8.RuneCountInString(mark))]) + mark
}

// left fills a text up from the left.
func left(s string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s))) + s
}
