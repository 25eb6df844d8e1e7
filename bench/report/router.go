package report

import (
	"bytes"
	"fmt"
)

// router writes what a router takes for a sample: beside the servers' own cost, and beside
// passing the same bytes on without looking at them.
func (r *Result) router(out *bytes.Buffer) {
	var rows bytes.Buffer
	for _, series := range r.sizes() {
		for _, form := range []string{References, Labels} {
			router := r.Find(series, ProjectRouter, Routed+form)
			servers := r.Find(series, ProjectTwoGroups, Routed+form)
			pass := r.Find(series, BoundRouter, Routed+form)
			if router == nil || servers == nil || pass == nil {
				continue
			}
			fmt.Fprintf(&rows, "| %s | %s | %s | %s | %s | %s |\n", Routed+form, servers.spread(1), router.spread(1), pass.spread(1),
				times(router.Median()/servers.Median()), times(router.Median()/pass.Median()))
		}
	}
	if rows.Len() == 0 {
		return
	}
	fmt.Fprintf(out, "\n## Router\n\nNanoseconds of CPU for each sample that a follower gets, of all series of two groups: what the servers take if it calls\n"+
		"them itself, and what comes on top of that in a router, and in a process that only passes on the same bytes by grpc-go.\n\n"+
		"| what | servers | router | passed on | router, of the servers | router, of passing on |\n|---|---|---|---|---|---|\n%s", rows.Bytes())
}
