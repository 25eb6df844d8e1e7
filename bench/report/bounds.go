package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Names of the floors' systems, see the package bound.
const (
	Bound       = "lower bound"
	BoundTwo    = Bound + ", remote write 2.0"
	BoundHTTP   = Bound + ", net/http"
	BoundGRPC   = Bound + ", grpc-go"
	BoundSocket = Bound + ", socket"
)

func isBound(system string) bool { return strings.HasPrefix(system, Bound) }

var bounds = []comparison{
	{"steady ingest, RW 1.0, all processes", Steady, Project, Bound, false, "M samples/CPU-s", 1e6},
	{"receiver + forwarder, RW 1.0", SteadyFront, Project, Bound, false, "M samples/CPU-s", 1e6},
	{"steady ingest, RW 2.0, all processes", Steady, ProjectTwo, BoundTwo, false, "M samples/CPU-s", 1e6},
	{"receiver + forwarder, RW 2.0", SteadyFront, ProjectTwo, BoundTwo, false, "M samples/CPU-s", 1e6},
	{"series seen for the first time, RW 1.0", New, Project, Bound, false, "k series/CPU-s", 1e3},
	{"series seen for the first time, RW 2.0", New, ProjectTwo, BoundTwo, false, "k series/CPU-s", 1e3},
	{"snapshot, encoded bytes by net/http as it comes", Latest, Project, BoundHTTP, false, "M series/CPU-s", 1e6},
	{"snapshot, encoded bytes by grpc-go", Latest, Project, BoundGRPC, false, "M series/CPU-s", 1e6},
	{"snapshot, encoded bytes through a socket without HTTP", Latest, Project, BoundSocket, false, "M series/CPU-s", 1e6},
	{"snapshot through HAProxy, encoded bytes by net/http as it comes", ThroughProxy, Project, Bound, false, "M series/s", 1e6},
	{"snapshot, first byte, encoded bytes by net/http as it comes", LatestFirst, Project, BoundHTTP, true, "ms", 1e-3},
}

// bounds writes how near the project is to its bounds, where 100 % is reaching them.
func (r *Result) bounds(out *bytes.Buffer) {
	rows := r.compare(bounds)
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(out, "\n## Lower bounds\n\nThe bound is the sum of what the unavoidable steps cost when each is done alone, with the same requests and in the\n"+
		"same run (see the [method](../README.md#lower-bounds)).\n\n"+
		"| what | series | bound | project | how near |\n|---|---|---|---|---|\n%s", rows)
	var t table
	for _, f := range r.Figures {
		if what, ok := strings.CutPrefix(f.Metric, Cost); ok && (f.System == Project || f.System == ProjectTwo || isBound(f.System)) {
			t.set(what, f.System+", "+thousands(f.Series), number(f.Median()))
		}
	}
	slices.Sort(t.rows)
	fmt.Fprint(out, "\nCPU time of a sample of a known series, in nanoseconds, by process and step:\n")
	t.write(out)
}
