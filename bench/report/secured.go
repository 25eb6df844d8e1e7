package report

import (
	"bytes"
	"fmt"
)

// secured writes what TLS costs: what the project does in a CPU-second with it, as a
// share of what it does without, in the same run.
func (r *Result) secured(out *bytes.Buffer) {
	var rows bytes.Buffer
	for _, series := range r.sizes() {
		for _, c := range []struct {
			what, metric, unit string
			time               bool // CPU time rather than a rate
			divisor            float64
		}{
			{"steady ingest, RW 1.0, all processes", Steady, "M samples/CPU-s", false, 1e6},
			{"series seen for the first time", New, "k series/CPU-s", false, 1e3},
			{"snapshot over gRPC, full labels", Latest, "M series/CPU-s", false, 1e6},
			{"a hundred followers of everything", Followers, "CPU-s/s", true, 1},
		} {
			without, with := r.Find(series, Project, c.metric), r.Find(series, ProjectTLS, c.metric)
			if without == nil || with == nil {
				continue
			}
			share := with.Median() / without.Median()
			if c.time {
				share = 1 / share
			}
			fmt.Fprintf(&rows, "| %s | %s | %s %s | %s | %.0f %% |\n", c.what, thousands(series),
				without.spread(c.divisor), c.unit, with.spread(c.divisor), 100*share)
		}
	}
	if rows.Len() == 0 {
		return
	}
	fmt.Fprintf(out, "\n## TLS\n\nThe same with TLS for senders and readers, and mutual TLS with roles between the parts.\n\n"+
		"| what | series | without | with TLS | share |\n|---|---|---|---|---|\n%s", rows.Bytes())
}
