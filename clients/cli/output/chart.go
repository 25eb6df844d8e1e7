package output

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/value"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// The bounds of what a chart keeps. Of a longer line, neighbours are merged into their
// lowest and highest.
const (
	maxLines  = 1000
	maxPoints = 4000
)

// ChartOptions say what a chart shows.
type ChartOptions struct {
	// Step between two values of a series. A longer gap is one.
	Step time.Duration
	// Held says that a series keeps its value until the next one.
	Held bool
	// Span that is shown, up to the newest value. Zero means everything.
	Span time.Duration
	// Colour tells lines apart by colours, rather than by letters.
	Colour bool
	// Unicode says that the terminal has more than ASCII.
	Unicode bool
	// Size of the chart in characters.
	Size func() (width, height int, err error)
}

// chart keeps the values of series over time, and draws them as lines.
type chart struct {
	omissions
	o       ChartOptions
	lines   map[string]*chartLine
	more    map[string]bool // series beyond maxLines
	samples int
	newest  int64 // ms; math.MinInt64 before any
}

// chartLine is one series.
type chartLine struct {
	name   string
	number int // of its letter or colour, which no other has
	points []chartPoint
	last   float64
	gone   bool
}

// chartPoint is a value at a time in ms. NaN is a gap.
type chartPoint struct {
	at    int64
	value float64
}

func newChart(o ChartOptions) *chart {
	return &chart{o: o, lines: map[string]*chartLine{}, more: map[string]bool{}, newest: math.MinInt64}
}

func (c *chart) add(all []*metricsv1.TimeSeries) {
	for _, s := range all {
		c.omit(histograms, len(s.GetHistograms()))
		if len(s.GetSamples()) == 0 {
			continue
		}
		name, labels := splitName(s.GetLabels())
		series := string(appendSeries(nil, name, labels))
		line := c.line(series)
		for _, sample := range s.GetSamples() {
			c.samples++
			c.newest = max(c.newest, sample.GetTimestamp())
			if line != nil {
				line.append(sample.GetTimestamp(), sample.GetValue(), c.o)
			}
		}
	}
	c.forget()
}

// line returns that of a series, nil if there are too many.
func (c *chart) line(series string) *chartLine {
	l := c.lines[series]
	switch {
	case l != nil:
		return l
	case len(c.lines) == maxLines:
		if len(c.more) < maxLines {
			c.more[series] = true
		}
		return nil
	}
	l = &chartLine{name: series, number: c.unused()}
	c.lines[series] = l
	delete(c.more, series)
	return l
}

// unused returns the lowest number that no line has.
func (c *chart) unused() int {
	used := make([]bool, len(c.lines)+1)
	for _, l := range c.lines {
		if l.number < len(used) {
			used[l.number] = true
		}
	}
	return slices.Index(used, false)
}

func (l *chartLine) append(at int64, v float64, o ChartOptions) {
	if n := len(l.points); n > 0 {
		before := l.points[n-1].at
		if at <= before {
			return
		}
		if step := o.Step.Milliseconds(); !o.Held && at-before > step+step/2 {
			l.points = append(l.points, chartPoint{before + step, math.NaN()})
		}
	}
	l.last, l.gone = v, value.IsStaleNaN(v)
	if math.IsInf(v, 0) {
		v = math.NaN() // there is no place for it
	}
	l.points = append(l.points, chartPoint{at, v})
	if len(l.points) > maxPoints {
		l.points = merged(l.points)
	}
}

// merged returns the lowest and the highest of each four points, and a gap if there is
// one.
func merged(points []chartPoint) []chartPoint {
	const group = 4
	out := points[:0]
	for four := range slices.Chunk(slices.Clone(points), group) {
		low, high, gap := -1, -1, -1
		for i, p := range four {
			switch {
			case math.IsNaN(p.value):
				gap = i
				continue
			case low < 0 || p.value < four[low].value:
				low = i
			}
			if high < 0 || p.value > four[high].value {
				high = i
			}
		}
		for i, p := range four {
			if i == low || i == high || i == gap {
				out = append(out, p)
			}
		}
	}
	return out
}

// event notes how far the steps have come.
func (c *chart) event(e Event) {
	if e.Steps != nil && e.Steps.Evaluated > 0 && c.newest != math.MinInt64 {
		c.newest = max(c.newest, e.Steps.Evaluated)
	}
}

// forget drops what is older than the span, and series that have nothing left.
func (c *chart) forget() {
	if c.o.Span <= 0 || c.newest == math.MinInt64 {
		return
	}
	start := c.newest - c.o.Span.Milliseconds()
	for series, l := range c.lines {
		first, exact := slices.BinarySearchFunc(l.points, start, func(p chartPoint, at int64) int { return cmp.Compare(p.at, at) })
		if c.o.Held && !exact && first > 0 {
			first-- // It lasts into the span.
		}
		l.points = slices.Delete(l.points, 0, first)
		if len(l.points) == 0 || l.gone && l.points[len(l.points)-1].at < start {
			delete(c.lines, series)
		}
	}
}

// sorted returns the lines by series.
func (c *chart) sorted() []*chartLine {
	all := make([]*chartLine, 0, len(c.lines))
	for _, l := range c.lines {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *chartLine) int { return cmp.Compare(a.name, b.name) })
	return all
}

func (c *chart) status() string {
	status := fmt.Sprintf("%d series, %d samples", len(c.lines)+len(c.more), c.samples)
	if len(c.more) > 0 {
		status += fmt.Sprintf(", the first %d are shown", maxLines)
	}
	return status
}

// chartOutput prints the chart when the stream has ended.
type chartOutput struct {
	*chart
	b *bufio.Writer
}

// NewChart returns an Output that draws series as lines, at its end.
func NewChart(w io.Writer, o ChartOptions) Output {
	return &chartOutput{newChart(o), bufio.NewWriter(w)}
}

// NewLiveChart shows a chart on the terminal w until Stop.
func NewLiveChart(w io.Writer, o ChartOptions) *Live {
	return newLive(w, o.Size, o.Colour, newChart(o))
}

func (c *chartOutput) Series(all []*metricsv1.TimeSeries) error {
	c.add(all)
	return nil
}

func (c *chartOutput) Event(e Event) error {
	c.event(e)
	return nil
}

func (c *chartOutput) Flush() error { return nil }

func (c *chartOutput) Close() error {
	width, height := terminalSize(c.o.Size)
	// The prompt comes below it.
	lines, _ := c.draw(width, height-2, time.Time{})
	for _, line := range lines {
		if _, err := c.b.WriteString(line + "\n"); err != nil {
			return err
		}
	}
	return c.b.Flush()
}
