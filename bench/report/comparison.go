package report

import (
	"bytes"
	"fmt"
	"slices"
)

// comparison is of a figure of a system with the best of others, in the same run.
type comparison struct {
	what    string
	metric  string
	system  string
	with    func(system string) bool
	least   bool // the figure is a time or a size rather than a rate
	unit    string
	divisor float64
	target  float64 // the least ratio that is aimed at, zero for none
}

// is returns whether a system is that of a name.
func is(name string) func(system string) bool {
	return func(system string) bool { return system == name }
}

// compare writes a row for each size at which both sides have the figure: what it was
// with the other, with the system, and the ratio. If there are targets, each row says
// what became of its own, and those whose other side is missing have a row as well.
func (r *Result) compare(all []comparison, show func(ratio float64) string) []byte {
	var rows bytes.Buffer
	goals := slices.ContainsFunc(all, func(c comparison) bool { return c.target > 0 })
	ingested := r.ingested()
	for _, series := range r.sizes() {
		for _, c := range all {
			own, other := r.Find(series, c.system, c.metric), r.best(series, c.metric, c.least, c.with)
			measured := own != nil && other != nil
			if !measured && (c.target == 0 || !slices.Contains(ingested, series)) {
				continue
			}
			ratio, cells := 0.0, "– | – | –"
			if measured {
				ratio = own.Median() / other.Median()
				if c.least {
					ratio = 1 / ratio
				}
				name := ""
				if isPeer(other.System) {
					name = ", " + other.System
				}
				cells = fmt.Sprintf("%s %s%s | %s | %s", other.spread(c.divisor), c.unit, name, own.spread(c.divisor), show(ratio))
			}
			fmt.Fprintf(&rows, "| %s | %s | %s |", c.what, thousands(series), cells)
			switch {
			case goals && c.target == 0:
				fmt.Fprint(&rows, " – | |")
			case goals:
				fmt.Fprintf(&rows, " ≥ %s | %s |", show(c.target), mark(measured, ratio >= c.target))
			}
			fmt.Fprintln(&rows)
		}
	}
	return rows.Bytes()
}

// mark says what became of a target.
func mark(measured, met bool) string {
	switch {
	case !measured:
		return "not measured"
	case met:
		return "met"
	}
	return "missed"
}

func percent(ratio float64) string { return fmt.Sprintf("%.0f %%", 100*ratio) }

func times(ratio float64) string { return number(ratio) + " ×" }

// ingested are the sizes at which ingest was measured.
func (r *Result) ingested() (sizes []int) {
	for _, series := range r.sizes() {
		if r.best(series, Steady, false, func(string) bool { return true }) != nil {
			sizes = append(sizes, series)
		}
	}
	return sizes
}

// best returns the best figure of some systems, or nil.
func (r *Result) best(series int, metric string, least bool, of func(system string) bool) *Figure {
	var best *Figure
	for _, f := range r.Figures {
		if f.Series == series && f.Metric == metric && of(f.System) && (best == nil || (f.Median() < best.Median()) == least) {
			best = f
		}
	}
	return best
}
