package report

import (
	"bytes"
	"fmt"
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

// bound compares a figure of the project with its lower bound.
type bound struct {
	what    string
	metric  string
	system  string // of the project
	bound   string
	least   bool // the figure is a time rather than a rate
	unit    string
	divisor float64
}

var bounds = []bound{
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
	var rows bytes.Buffer
	for _, series := range r.sizes() {
		for _, b := range bounds {
			project, bound := r.Find(series, b.system, b.metric), r.Find(series, b.bound, b.metric)
			if project == nil || bound == nil {
				continue
			}
			near := project.Median() / bound.Median()
			if b.least {
				near = 1 / near
			}
			fmt.Fprintf(&rows, "| %s | %s | %s %s | %s | %.0f %% |\n", b.what, thousands(series),
				bound.spread(b.divisor), b.unit, project.spread(b.divisor), 100*near)
		}
	}
	if rows.Len() == 0 {
		return
	}
	fmt.Fprintf(out, "\n## Lower bounds\n\nThe bound is the sum of what the unavoidable steps cost when each is done alone, with the same requests and in the\n"+
		"same run (see the [method](../README.md#lower-bounds)).\n\n"+
		"| what | series | bound | project | how near |\n|---|---|---|---|---|\n%s", rows.Bytes())
	r.floors(out)
}

// floors writes the cost of a sample of a known series in each process of the project
// and in each step of the bound.
func (r *Result) floors(out *bytes.Buffer) {
	var t table
	for _, series := range r.sizes() {
		for write, systems := range [][2]string{{Project, Bound}, {ProjectTwo, BoundTwo}} {
			column := fmt.Sprintf("RW %d.0, %s", write+1, thousands(series))
			for _, p := range [][2]string{{"receiver", "receiver"}, {"forwarder", "forwarder"}, {"server 1", "server"}} {
				rate, share := r.Find(series, systems[0], Steady), r.Find(series, systems[0], Share+p[0])
				if rate != nil && share != nil {
					t.set(p[1]+" of the project", column, number(1e7/rate.Median()*share.Median()))
				}
				for _, f := range r.Figures {
					if step, ok := strings.CutPrefix(f.Metric, Floor+p[1]+": "); ok && f.Series == series && f.System == systems[1] {
						t.set(p[1]+", floor: "+step, column, number(f.Median()))
					}
				}
			}
		}
	}
	fmt.Fprint(out, "\nCPU time of a sample of a known series, in nanoseconds:\n")
	t.write(out)
}
