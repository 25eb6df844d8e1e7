package report

import (
	"bytes"
	"fmt"
	"strings"
)

// Metrics that the targets or the plots refer to. Others are named where they are
// measured.
const (
	Steady       = "ingest, known series"
	SteadyFront  = "ingest, known series, without the stores"
	New          = "ingest, new series"
	Third        = "a third replica, more CPU"
	Acknowledged = "a server acknowledges as well, more CPU"
	AnswerHalf   = "answer to a request at 100 k samples/s, p50"
	AnswerMost   = "answer to a request at 100 k samples/s, p99"
	DiskHour     = "disk, an hour at 15 s"
	Disk         = "disk, forwarder or one store"
	StoreMemory  = "peak memory of a store, reading included"
	FrontMemory  = "peak memory of what is before the stores"
	Latest       = "latest of all series" // then the way
	LatestFirst  = "latest of all series, first byte"
	ThroughProxy = "latest of all series through HAProxy, elapsed"
	FollowHalf   = "follow at 100 k samples/s, p50"
	FollowMost   = "follow at 100 k samples/s, p99"
	Routed       = "following, CPU of a sample" // then its form
	References   = ", with label references"
	Labels       = ", with labels"
	Followers    = "a hundred followers at 20 k samples/s, server CPU"
	FollowersAll = "a hundred followers at 20 k samples/s, labels throughout, server CPU"
	Replay       = "replay, delivered"
	ReplayAll    = "replay, delivered, labels throughout"
	ReplaySkip   = "replay, skipped"
	ReplayBucket = "replay, delivered, from the bucket"
	ReplayDisk   = "replay, delivered, the same from the disk"
	StoreAPI     = "StoreAPI, all series, 5 minutes"
	Elapsed      = ", elapsed"
	Restart      = "restart to serving"
	Serial       = "what only the appender does, of the forwarder's floors"
	Others       = "CPU used by others meanwhile"
	Cost         = "CPU of a sample, " // then the process, and in a bound the step
)

// Names of the project's variants.
const (
	Project      = "project"
	ProjectTwo   = "project, remote write 2.0"
	ProjectOne   = "project, 1 server"
	ProjectThree = "project, 3 servers"
	ProjectTLS   = "project, TLS"
	ProjectAck   = "project, acknowledged by a server"
	// With a server in each group.
	ProjectTwoGroups  = "project, 2 groups by labels"
	ProjectFourGroups = "project, 4 groups by labels"
	ProjectSenders    = "project, 4 groups by sender"
	ProjectRouter     = "project, router over 2 groups"
)

// target is a bound that stands by itself: on latency, memory, disk and the like, which no
// floor and no peer says anything about.
type target struct {
	what    string
	series  int // the size that it is stated for
	system  string
	metric  string
	bound   float64
	atMost  bool
	unit    string
	divisor float64 // from the figure's unit to that of the table
}

const (
	small = 100_000
	large = 1_000_000
	mib   = 1 << 20
)

var targets = []target{
	{"what only the appender does", small, Project, Serial, 10, true, "% of the forwarder's floors", 1},
	{"a third replica", small, ProjectThree, Third, 7, true, "% more CPU", 1},
	{"a third replica", large, ProjectThree, Third, 7, true, "% more CPU", 1},
	{"acknowledged by a server as well", small, ProjectAck, Acknowledged, 15, true, "% more CPU", 1},
	{"acknowledged by a server as well", large, ProjectAck, Acknowledged, 15, true, "% more CPU", 1},
	{"answer to a request, p50", small, Project, AnswerHalf, 10, true, "ms", 1e-3},
	{"answer to a request, p99", small, Project, AnswerMost, 50, true, "ms", 1e-3},
	{"the same acknowledged by a server, p50", small, ProjectAck, AnswerHalf, 20, true, "ms", 1e-3},
	{"the same acknowledged by a server, p99", small, ProjectAck, AnswerMost, 100, true, "ms", 1e-3},
	{"memory of a server, reading included", large, Project, StoreMemory, 500, true, "MiB", mib},
	{"memory of the forwarder and the receiver", small, Project, FrontMemory, 150, true, "MiB", mib},
	{"memory of the forwarder and the receiver", large, Project, FrontMemory, 550, true, "MiB", mib},
	{"disk, an hour at 15 s, keyframes included", small, Project, DiskHour, 3, true, "B/sample", 1},
	{"disk, the samples of the steady run", small, Project, Disk, 3, true, "B/sample", 1},
	{"snapshot, first byte", small, Project, LatestFirst, 10, true, "ms", 1e-3},
	{"snapshot, first byte", large, Project, LatestFirst, 10, true, "ms", 1e-3},
	{"follow, request to client, p50", small, Project, FollowHalf, 10, true, "ms", 1e-3},
	{"follow, request to client, p99", small, Project, FollowMost, 50, true, "ms", 1e-3},
	{"a hundred followers of everything", 20_000, Project, Followers, 1, true, "CPU-s/s", 1},
	{"replay from the files, delivered", small, Project, Replay, 10, false, "M samples/CPU-s", 1e6},
	{"replay from a bucket", small, Project, ReplayBucket, 5, false, "M samples/CPU-s", 1e6},
	{"replay from the files, skipped", small, Project, ReplaySkip, 10, false, "M samples/CPU-s", 1e6},
	{"restart with all series", large, Project, Restart, 3, true, "s", 1},
}

// met reports whether a value, in the table's unit, reaches the target.
func (t *target) met(value float64) bool {
	if t.atMost {
		return value <= t.bound
	}
	return value >= t.bound
}

// targets writes what became of each target.
func (r *Result) targets(out *bytes.Buffer) {
	if len(r.ingested()) == 0 {
		return
	}
	fmt.Fprint(out, "\n## Targets\n\nRatios to what was measured in the same run, which another machine changes less than it changes the figures.\n")
	r.bounds(out)
	r.peers(out)
	fmt.Fprint(out, "\n### Latency, memory, disk and the like\n\n| what | series | target | measured | |\n|---|---|---|---|---|\n")
	for i := range targets {
		t := &targets[i]
		sign, value, met := "≥", "–", false
		if t.atMost {
			sign = "≤"
		}
		f := r.Find(t.series, t.system, t.metric)
		if f != nil {
			value, met = f.spread(t.divisor), t.met(f.Median()/t.divisor)
		}
		fmt.Fprintf(out, "| %s | %s | %s %s %s | %s | %s |\n",
			t.what, thousands(t.series), sign, number(t.bound), t.unit, value, mark(f != nil, met))
	}
}

func isProject(system string) bool {
	return system == Project || strings.HasPrefix(system, Project+", ")
}
