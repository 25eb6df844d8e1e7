package report

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
)

// target is a goal of the project.
type target struct {
	what    string
	series  int // the size that it is stated for
	system  string
	metric  string
	bound   float64
	atMost  bool
	peer    bool // whether the best peer's figure is of the same kind
	unit    string
	divisor float64 // from the figure's unit to that of the table
}

const (
	small = 100_000
	large = 1_000_000
	mib   = 1 << 20
)

var targets = []target{
	{"steady ingest, RW 1.0, all processes", small, Project, Steady, 2.0, false, true, "M samples/CPU-s", 1e6},
	{"steady ingest, RW 1.0, all processes", large, Project, Steady, 1.4, false, true, "M samples/CPU-s", 1e6},
	{"receiver + forwarder, fanning out to two", small, Project, SteadyFront, 2.5, false, true, "M samples/CPU-s", 1e6},
	{"receiver + forwarder, fanning out to two", large, Project, SteadyFront, 2.5, false, true, "M samples/CPU-s", 1e6},
	{"steady ingest, RW 2.0, all processes", small, ProjectTwo, Steady, 2.5, false, false, "M samples/CPU-s", 1e6},
	{"steady ingest, RW 2.0, all processes", large, ProjectTwo, Steady, 2.5, false, false, "M samples/CPU-s", 1e6},
	{"a third replica", small, ProjectThree, Third, 7, true, false, "% more CPU", 1},
	{"a third replica", large, ProjectThree, Third, 7, true, false, "% more CPU", 1},
	{"acknowledged by a server as well", small, ProjectAck, Acknowledged, 15, true, false, "% more CPU", 1},
	{"acknowledged by a server as well", large, ProjectAck, Acknowledged, 15, true, false, "% more CPU", 1},
	{"answer to a request, p50", small, Project, AnswerHalf, 10, true, false, "ms", 1e-3},
	{"answer to a request, p99", small, Project, AnswerMost, 50, true, false, "ms", 1e-3},
	{"the same acknowledged by a server, p50", small, ProjectAck, AnswerHalf, 20, true, false, "ms", 1e-3},
	{"the same acknowledged by a server, p99", small, ProjectAck, AnswerMost, 100, true, false, "ms", 1e-3},
	{"series seen for the first time", small, Project, New, 500, false, true, "k series/CPU-s", 1e3},
	{"series seen for the first time", large, Project, New, 500, false, true, "k series/CPU-s", 1e3},
	{"memory of a server, reading included", large, Project, StoreMemory, 500, true, true, "MiB", mib},
	{"memory of the forwarder and the receiver", small, Project, FrontMemory, 150, true, true, "MiB", mib},
	{"memory of the forwarder and the receiver", large, Project, FrontMemory, 550, true, true, "MiB", mib},
	{"disk, an hour at 15 s, keyframes included", small, Project, DiskHour, 3, true, false, "B/sample", 1},
	{"disk, the samples of the steady run", small, Project, Disk, 3, true, true, "B/sample", 1},
	{"snapshot over gRPC, full labels", small, Project, Latest, 2.5, false, true, "M series/CPU-s", 1e6},
	{"snapshot over gRPC, full labels", large, Project, Latest, 2.5, false, true, "M series/CPU-s", 1e6},
	{"snapshot, first byte", small, Project, LatestFirst, 10, true, true, "ms", 1e-3},
	{"snapshot, first byte", large, Project, LatestFirst, 10, true, true, "ms", 1e-3},
	{"snapshot through tuned HAProxy", small, Project, ThroughProxy, 1.5, false, false, "M series/s", 1e6},
	{"snapshot through tuned HAProxy", large, Project, ThroughProxy, 1.5, false, false, "M series/s", 1e6},
	{"StoreAPI, all series, 5 minutes", small, Project, StoreAPI, 0.45, false, true, "M series/CPU-s", 1e6},
	{"StoreAPI, all series, 5 minutes", large, Project, StoreAPI, 0.35, false, true, "M series/CPU-s", 1e6},
	{"follow, request to client, p50", small, Project, FollowHalf, 10, true, false, "ms", 1e-3},
	{"follow, request to client, p99", small, Project, FollowMost, 50, true, false, "ms", 1e-3},
	{"a hundred followers of everything", 20_000, Project, Followers, 1, true, false, "CPU-s/s", 1},
	{"replay from the files, delivered", small, Project, Replay, 10, false, false, "M samples/CPU-s", 1e6},
	{"replay from a bucket", small, Project, ReplayBucket, 5, false, false, "M samples/CPU-s", 1e6},
	{"replay from the files, skipped", small, Project, ReplaySkip, 10, false, false, "M samples/CPU-s", 1e6},
	{"restart with all series", large, Project, Restart, 3, true, false, "s", 1},
}

// met reports whether a value, in the table's unit, reaches the target.
func (t *target) met(value float64) bool {
	if t.atMost {
		return value <= t.bound
	}
	return value >= t.bound
}

// best returns the figure of the best peer at a target's metric, or nil.
func (r *Result) best(t *target) *Figure {
	var best *Figure
	for _, f := range r.Figures {
		if f.Series != t.series || f.Metric != t.metric || isProject(f.System) || isBound(f.System) || !t.peer {
			continue
		}
		if best == nil || (f.Median() < best.Median()) == t.atMost {
			best = f
		}
	}
	return best
}

func isProject(system string) bool {
	switch system {
	case Project, ProjectOne, ProjectTwo, ProjectThree, ProjectTLS, ProjectAck, Windowless:
		return true
	}
	return false
}
