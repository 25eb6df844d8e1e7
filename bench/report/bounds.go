package report

import (
	"bytes"
	"fmt"
	"strings"
)

// Names of what does only what cannot be left out, see the package bound.
const (
	Bound     = "lower bound"
	BoundTwo  = Bound + ", remote write 2.0"
	BoundHTTP = Bound + ", net/http"
	BoundGRPC = Bound + ", grpc-go"
	BoundTCP  = Bound + ", TCP"
)

func isBound(system string) bool { return strings.HasPrefix(system, Bound) }

// bound holds a figure of the project against the least that it can cost.
type bound struct {
	what    string
	metric  string
	system  string // of the project
	bound   string
	least   bool // the figure is a time or a cost, rather than a rate
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
	{"snapshot, bytes that are ready over net/http as it comes", Latest, Project, BoundHTTP, false, "M series/CPU-s", 1e6},
	{"snapshot, bytes that are ready over grpc-go", Latest, Project, BoundGRPC, false, "M series/CPU-s", 1e6},
	{"snapshot, bytes that are ready over TCP, without HTTP", Latest, Project, BoundTCP, false, "M series/CPU-s", 1e6},
	{"snapshot through HAProxy, bytes that are ready over net/http as it comes", ThroughProxy, Project, Bound, false, "M series/s", 1e6},
	{"snapshot, first byte of what is ready, over net/http as it comes", LatestFirst, Project, BoundHTTP, true, "ms", 1e-3},
}

// near is how near the project comes to the bound: 1 is there.
func (b *bound) near(project, bound *Figure) float64 {
	if b.least {
		return bound.Median() / project.Median()
	}
	return project.Median() / bound.Median()
}

// bounds writes the tables of what was measured of the project and of the bound.
func (r *Result) bounds(out *bytes.Buffer) {
	var rows, parts bytes.Buffer
	for _, series := range r.sizes() {
		for i := range bounds {
			b := &bounds[i]
			project, least := r.Find(series, b.system, b.metric), r.Find(series, b.bound, b.metric)
			if project == nil || least == nil {
				continue
			}
			fmt.Fprintf(&rows, "| %s | %s | %s %s | %s | %.0f %% |\n", b.what, thousands(series),
				least.spread(b.divisor), b.unit, project.spread(b.divisor), 100*b.near(project, least))
		}
		r.parts(&parts, series, "RW 1.0", Project, Bound)
		r.parts(&parts, series, "RW 2.0", ProjectTwo, BoundTwo)
	}
	if rows.Len() == 0 {
		return
	}
	fmt.Fprintf(out, "\n## Lower bounds\n\nThe bound is what programs reach that do only what cannot be left out, with the same bytes and in the same run\n"+
		"(see the [method](../README.md#lower-bounds)). Where the project is near, there is little left to gain.\n\n"+
		"| what | series | bound | project | how near |\n|---|---|---|---|---|\n%s", rows.Bytes())
	if parts.Len() > 0 {
		fmt.Fprintf(out, "\nCPU time of a sample of a known series, by process, and of the bound's forwarder what its stages take alone:\n\n"+
			"| process | series | bound | project |\n|---|---|---|---|\n%s", parts.Bytes())
	}
}

// parts writes what a sample costs in each process of the project and of the
// bound, and what the stages cost that were measured alone.
func (r *Result) parts(out *bytes.Buffer, series int, write, project, bound string) {
	for _, process := range []string{"receiver", "forwarder", "server 1", "server 2"} {
		have, ok := r.sampleCPU(series, project, process)
		least, both := r.sampleCPU(series, bound, process)
		if ok && both {
			fmt.Fprintf(out, "| %s, %s | %s | %s ns | %s ns |\n", write, process, thousands(series), number(least), number(have))
		}
	}
	for _, f := range r.Figures {
		if stage, ok := strings.CutPrefix(f.Metric, Stage); ok && f.Series == series && f.System == bound {
			fmt.Fprintf(out, "| %s, of the forwarder: %s | %s | %s ns | – |\n", write, stage, thousands(series), f.spread(1))
		}
	}
}

// sampleCPU is what a sample of a known series costs a process of a system, in
// nanoseconds.
func (r *Result) sampleCPU(series int, system, process string) (float64, bool) {
	rate, share := r.Find(series, system, Steady), r.Find(series, system, Share+process)
	if rate == nil || share == nil {
		return 0, false
	}
	return 1e9 / rate.Median() * share.Median() / 100, true
}
