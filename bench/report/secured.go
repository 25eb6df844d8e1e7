package report

import (
	"bytes"
	"fmt"
)

var secured = []comparison{
	{"steady ingest, RW 1.0, all processes", Steady, ProjectTLS, is(Project), false, "M samples/CPU-s", 1e6, 0},
	{"series seen for the first time", New, ProjectTLS, is(Project), false, "k series/CPU-s", 1e3, 0},
	{"snapshot over gRPC, full labels", Latest, ProjectTLS, is(Project), false, "M series/CPU-s", 1e6, 0},
	{"a hundred followers of everything", Followers, ProjectTLS, is(Project), true, "CPU-s/s", 1, 0},
}

// secured writes what TLS costs: what the project does in a CPU-second with it, as a
// share of what it does without.
func (r *Result) secured(out *bytes.Buffer) {
	rows := r.compare(secured, percent)
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(out, "\n## TLS\n\nThe same with TLS for senders and readers, and mutual TLS with roles between the parts.\n\n"+
		"| what | series | without | with TLS | share |\n|---|---|---|---|---|\n%s", rows)
}
