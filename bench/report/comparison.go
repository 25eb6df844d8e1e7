package report

import (
	"bytes"
	"fmt"
)

// comparison is of a figure of a system with that of another, in the same run.
type comparison struct {
	what    string
	metric  string
	system  string
	with    string
	least   bool // the figure is a time rather than a rate
	unit    string
	divisor float64
}

// compare writes a row for each size at which both systems have the figure: what it was
// with the other, with the system, and how near the system comes to the other.
func (r *Result) compare(all []comparison) []byte {
	var rows bytes.Buffer
	for _, series := range r.sizes() {
		for _, c := range all {
			own, other := r.Find(series, c.system, c.metric), r.Find(series, c.with, c.metric)
			if own == nil || other == nil {
				continue
			}
			near := own.Median() / other.Median()
			if c.least {
				near = 1 / near
			}
			fmt.Fprintf(&rows, "| %s | %s | %s %s | %s | %.0f %% |\n", c.what, thousands(series),
				other.spread(c.divisor), c.unit, own.spread(c.divisor), 100*near)
		}
	}
	return rows.Bytes()
}
