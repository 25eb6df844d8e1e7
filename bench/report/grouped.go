package report

import (
	"bytes"
	"fmt"
)

var grouped = []comparison{
	{"2 groups, by a label", Steady, ProjectTwoGroups, is(ProjectOne), false, "M samples/CPU-s", 1e6, 0},
	{"4 groups, by a label", Steady, ProjectFourGroups, is(ProjectOne), false, "M samples/CPU-s", 1e6, 0},
	{"4 groups, by sender", Steady, ProjectSenders, is(ProjectOne), false, "M samples/CPU-s", 1e6, 0},
	{"series seen for the first time, 4 groups, by a label", New, ProjectFourGroups, is(ProjectOne), false, "k series/CPU-s", 1e3, 0},
}

// grouped writes what spreading series costs: what all groups do in a CPU-second together,
// as a share of what one pipeline does.
func (r *Result) grouped(out *bytes.Buffer) {
	rows := r.compare(grouped, percent)
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(out, "\n## Groups\n\nSteady ingest, all processes: one receiver that spreads the series over groups of a forwarder and a server each, beside\n"+
		"one pipeline with one server.\n\n"+
		"| what | series | one pipeline | groups | share |\n|---|---|---|---|---|\n%s", rows)
}
