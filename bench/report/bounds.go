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
	BoundRouter = Bound + ", passed on by grpc-go"
)

func isBound(system string) bool { return strings.HasPrefix(system, Bound) }

var bounds = []comparison{
	{"steady ingest, RW 1.0, all processes", Steady, Project, is(Bound), false, "M samples/CPU-s", 1e6, 0.85},
	{"steady ingest, RW 2.0, all processes", Steady, ProjectTwo, is(BoundTwo), false, "M samples/CPU-s", 1e6, 0.75},
	{"series seen for the first time, RW 1.0", New, Project, is(Bound), false, "k series/CPU-s", 1e3, 0.80},
	{"series seen for the first time, RW 2.0", New, ProjectTwo, is(BoundTwo), false, "k series/CPU-s", 1e3, 0.80},
	{"snapshot, encoded bytes by grpc-go", Latest, Project, is(BoundGRPC), false, "M series/CPU-s", 1e6, 0.90},
	{"receiver + forwarder, RW 1.0", SteadyFront, Project, is(Bound), false, "M samples/CPU-s", 1e6, 0},
	{"receiver + forwarder, RW 2.0", SteadyFront, ProjectTwo, is(BoundTwo), false, "M samples/CPU-s", 1e6, 0},
	{"snapshot, encoded bytes by net/http as it comes", Latest, Project, is(BoundHTTP), false, "M series/CPU-s", 1e6, 0},
	{"snapshot, encoded bytes through a socket without HTTP", Latest, Project, is(BoundSocket), false, "M series/CPU-s", 1e6, 0},
	{"snapshot through HAProxy, encoded bytes by net/http as it comes", ThroughProxy, Project, is(Bound), false, "M series/s", 1e6, 0},
	{"snapshot, first byte, encoded bytes by net/http as it comes", LatestFirst, Project, is(BoundHTTP), true, "ms", 1e-3, 0},
}

// bounds writes how near the project is to its bounds, where 100 % is reaching them. How
// much a step's floor is of the whole depends on the machine, so the floors stand beside
// what the project's processes took.
func (r *Result) bounds(out *bytes.Buffer) {
	fmt.Fprintf(out, "\n### Of the floor\n\nThe floor is the sum of what the unavoidable steps cost when each is done alone, with the same requests and in the\n"+
		"same run (see the [method](../../README.md#lower-bounds)).\n\n"+
		"| what | series | floor | project | how near | target | |\n|---|---|---|---|---|---|---|\n%s", r.compare(bounds, percent))
	var t table
	for _, f := range r.Figures {
		if what, ok := strings.CutPrefix(f.Metric, Cost); ok && (f.System == Project || f.System == ProjectTwo || isBound(f.System)) {
			t.set(what, f.System+", "+thousands(f.Series), number(f.Median()))
		}
	}
	if len(t.rows) == 0 {
		return
	}
	slices.Sort(t.rows)
	fmt.Fprint(out, "\nCPU time of a sample of a known series, in nanoseconds: the floor of each step, and the project's processes.\n")
	t.write(out)
}
