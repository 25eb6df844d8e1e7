package report

import (
	"bytes"
	"fmt"
	"strings"
)

// Names of the peers. A way of reading from one has its own name after it.
const (
	VMAgent         = "vmagent + 2 VictoriaMetrics"
	Prometheus      = "Prometheus"
	VictoriaMetrics = "VictoriaMetrics"
	Thanos          = "Thanos receive"
)

func isPeer(system string) bool { return !isProject(system) && !isBound(system) }

// sameJob reports whether a peer keeps two durable copies that can be queried, as the
// project does.
func sameJob(system string) bool { return strings.HasPrefix(system, VMAgent) }

// oneCopy reports whether a peer keeps a single copy.
func oneCopy(system string) bool { return isPeer(system) && !sameJob(system) }

func isThanos(system string) bool { return strings.HasPrefix(system, Thanos) }

var sameJobs = []comparison{
	{"steady ingest, RW 1.0, all processes", Steady, Project, sameJob, false, "M samples/CPU-s", 1e6, 10},
	{"series seen for the first time, RW 1.0", New, Project, sameJob, false, "k series/CPU-s", 1e3, 10},
	{"snapshot over gRPC, full labels", Latest, Project, sameJob, false, "M series/CPU-s", 1e6, 10},
	{"receiver + forwarder, fanning out to two", SteadyFront, Project, sameJob, false, "M samples/CPU-s", 1e6, 0},
	{"bytes on a store's disk", Disk, Project, sameJob, true, "B/sample", 1, 0},
	{"memory of a store, reading included", StoreMemory, Project, sameJob, true, "MiB", mib, 0},
	{"memory of what is before the stores", FrontMemory, Project, sameJob, true, "MiB", mib, 0},
	{"snapshot, first byte", LatestFirst, Project, sameJob, true, "ms", 1e-3, 0},
}

var oneCopies = []comparison{
	{"StoreAPI, all series, 5 minutes", StoreAPI, Project, isThanos, false, "M series/CPU-s", 1e6, 5},
	{"steady ingest, RW 1.0, all processes", Steady, Project, oneCopy, false, "M samples/CPU-s", 1e6, 0},
	{"series seen for the first time, RW 1.0", New, Project, oneCopy, false, "k series/CPU-s", 1e3, 0},
	{"snapshot over gRPC, full labels", Latest, Project, oneCopy, false, "M series/CPU-s", 1e6, 0},
	{"bytes on a store's disk", Disk, Project, oneCopy, true, "B/sample", 1, 0},
	{"memory of a store, reading included", StoreMemory, Project, oneCopy, true, "MiB", mib, 0},
	{"snapshot, first byte", LatestFirst, Project, oneCopy, true, "ms", 1e-3, 0},
}

// peers writes how many times as good the project is as the best peer: as those that do
// the same job, and as those that keep one copy where the project keeps two.
func (r *Result) peers(out *bytes.Buffer) {
	const columns = "| what | series | best peer | project | ratio | target | |\n|---|---|---|---|---|---|---|\n"
	fmt.Fprintf(out, "\n### To the best peer for the same job\n\nTwo durable copies that can be queried. The peers answer before a request is on a disk. "+
		"A ratio is how many times as\ngood the project is.\n\n%s%s", columns, r.compare(sameJobs, times))
	fmt.Fprintf(out, "\n### To the best peer that keeps one copy\n\nThe project keeps two.\n\n%s%s", columns, r.compare(oneCopies, times))
}
