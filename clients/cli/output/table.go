package output

import (
	"bufio"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/prometheus/prometheus/model/value"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// table keeps the latest sample of each series, and the rate at which its value
// changes.
type table struct {
	rows    map[string]*tableRow
	samples int
	brief   bool // native histograms as count and sum
	// difference shows how a value changes from sample to sample, and not in a second.
	difference bool
}

type tableRow struct {
	series string
	value  string
	stale  bool
	time   int64 // of the sample, ms
	// change since the sample before, and how much that is a second; NaN if there is
	// none.
	number, change, rate float64
}

func newTable(brief bool) table { return table{rows: map[string]*tableRow{}, brief: brief} }

func (t *table) add(all []*metricsv1.TimeSeries) {
	for _, s := range all {
		t.addOne(s)
	}
}

func (t *table) addOne(s *metricsv1.TimeSeries) {
	if len(s.GetSamples())+len(s.GetHistograms()) == 0 {
		return
	}
	name, labels := splitName(s.GetLabels())
	series := string(appendSeries(nil, name, labels))
	r, known := t.rows[series]
	if !known {
		r = &tableRow{series: series, time: math.MinInt64, number: math.NaN(), change: math.NaN(), rate: math.NaN()}
		t.rows[series] = r
	}
	for _, sample := range s.GetSamples() {
		r.update(sample.GetTimestamp(), sample.GetValue(), appendValue(nil, sample.GetValue()), value.IsStaleNaN(sample.GetValue()))
	}
	for _, h := range s.GetHistograms() {
		number, text := math.NaN(), appendHistogram(nil, h)
		if f, err := floatHistogram(h); t.brief && err == nil && !isStale(h) {
			number = f.Count
			text = fmt.Appendf(nil, "count:%s sum:%s", appendValue(nil, f.Count), appendValue(nil, f.Sum))
		}
		r.update(h.GetTimestamp(), number, text, isStale(h))
	}
	t.samples += len(s.GetSamples()) + len(s.GetHistograms())
}

// update makes a sample the latest of the row, unless it is older.
func (r *tableRow) update(at int64, number float64, text []byte, stale bool) {
	if at < r.time {
		return
	}
	if at > r.time {
		r.change = number - r.number
		r.rate = r.change / (float64(at-r.time) / 1000)
	}
	r.time, r.number, r.value, r.stale = at, number, string(text), stale
}

// sorted returns the rows by series, stale ones last.
func (t *table) sorted() []*tableRow {
	rows := make([]*tableRow, 0, len(t.rows))
	for _, r := range t.rows {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b *tableRow) int {
		if a.stale != b.stale {
			return map[bool]int{true: 1, false: -1}[a.stale]
		}
		return cmp.Compare(a.series, b.series)
	})
	return rows
}

// changeText returns how the value of a row changes.
func (t *table) changeText(r *tableRow) string {
	change, unit := r.rate, "/s"
	if t.difference {
		change, unit = r.change, ""
	}
	switch {
	case math.IsNaN(change) || math.IsInf(change, 0):
		return "-"
	case change == 0:
		return "0" + unit
	}
	return strconv.FormatFloat(change, 'g', 4, 64) + unit
}

// ageText returns the age of the sample, as kubectl writes ages.
func (r *tableRow) ageText(now time.Time) string {
	age := now.Sub(time.UnixMilli(r.time))
	switch {
	case age < 0:
		return "0s"
	case age < 2*time.Minute:
		return fmt.Sprintf("%ds", int(age.Seconds()))
	case age < 2*time.Hour:
		return fmt.Sprintf("%dm", int(age.Minutes()))
	case age < 48*time.Hour:
		return fmt.Sprintf("%dh", int(age.Hours()))
	}
	return fmt.Sprintf("%dd", int(age.Hours()/24))
}

// event notes nothing: a table has only series.
func (t *table) event(Event) {}

// draw shows the rows that fit, for a terminal.
func (t *table) draw(width, height int, now time.Time) (lines []string, status string) {
	rows := t.sorted()
	shown := rows[:min(len(rows), height-1)]
	heading := "RATE"
	if t.difference {
		heading = "CHANGE"
	}
	values, changes, ages := len("VALUE"), len(heading), len("AGE")
	for _, r := range shown {
		values, changes, ages = max(values, len(r.value)), max(changes, len(t.changeText(r))), max(ages, len(r.ageText(now)))
	}
	values = min(values, width/3)
	names := max(10, width-values-changes-ages-3*2)
	line := func(style, name, value, change, age string) {
		text := fmt.Sprintf("%s  %*s  %*s  %*s", pad(name, names), values, cut(value, values), changes, change, ages, age)
		if style != "" {
			text = style + text + plain
		}
		lines = append(lines, text)
	}
	line(bold, "SERIES", "VALUE", heading, "AGE")
	for _, r := range shown {
		style := ""
		if r.stale {
			style = faint
		}
		line(style, r.series, r.value, t.changeText(r), r.ageText(now))
	}
	status = fmt.Sprintf("%d series, %d samples", len(rows), t.samples)
	if more := len(rows) - len(shown); more > 0 {
		status += fmt.Sprintf(", %d more than fit: narrow the selectors", more)
	}
	return lines, status
}

// tableOutput prints the table when the stream has ended.
type tableOutput struct {
	table
	omissions
	b        *bufio.Writer
	terminal bool
}

func newTableOutput(b *bufio.Writer, terminal bool) *tableOutput {
	return &tableOutput{table: newTable(false), b: b, terminal: terminal}
}

func (t *tableOutput) Series(all []*metricsv1.TimeSeries) error {
	t.add(all)
	return nil
}

func (t *tableOutput) Event(Event) error { return nil }

func (t *tableOutput) Flush() error { return nil }

func (t *tableOutput) Close() error {
	w := tabwriter.NewWriter(t.b, 0, 8, 2, ' ', 0)
	if len(t.rows) > 0 {
		_, _ = fmt.Fprintln(w, "SERIES\tVALUE\tTIME") // Flush returns the error
	}
	for _, r := range t.sorted() {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\n", Cell(r.series, t.terminal), Cell(r.value, t.terminal), time.UnixMilli(r.time).UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return t.b.Flush()
}
