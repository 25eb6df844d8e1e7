package torture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// kind of a fault.
type kind string

// The faults that there are.
const (
	kill        kind = "kill -9"
	killServers kind = "kill all servers"
	killAll     kind = "kill everything"
	terminate   kind = "SIGTERM"
	pause       kind = "SIGSTOP"
	pauseAll    kind = "SIGSTOP servers"
	cut         kind = "cut"
	cutWithin   kind = "cut within"
	slow        kind = "slow"
	hold        kind = "blackhole"
	partition   kind = "partition"
	diskFull    kind = "disk full"
	diskTight   kind = "disk tight"
	diskLost    kind = "disk lost"
	logCut      kind = "log cut"
	clientKill  kind = "client kill"
	clientTerm  kind = "client SIGTERM"
	clientStart kind = "client resume"

	replicaSilent     kind = "replica of the pair silent"
	forwarderLost     kind = "forwarder lost"
	bucketAway        kind = "bucket away"
	bucketSlow        kind = "bucket slow"
	bucketRefuses     kind = "bucket refuses"
	bucketAnswersLost kind = "bucket's answers lost"

	clockBack    kind = "clock back"
	clockForward kind = "clock forward"

	groupAway  kind = "group away"
	groupCut   kind = "group cut off"
	seriesMove kind = "series move"
)

// fault is an entry of the plan.
type fault struct {
	at     time.Duration // after the begin
	lasts  time.Duration
	kind   kind
	target int // a number, of which the target is the remainder
	amount int // bytes or seconds, where it takes some
}

func (f fault) String() string {
	return fmt.Sprintf("%7.3fs %-16s %3d for %.3fs, %d", f.at.Seconds(), f.kind, f.target, f.lasts.Seconds(), f.amount)
}

// weights say how often each fault comes, beside the others.
var weights = []struct {
	kind   kind
	weight int
}{
	{kill, 14}, {killServers, 3}, {killAll, 2}, {terminate, 7}, {pause, 9}, {pauseAll, 2},
	{cut, 7}, {cutWithin, 9}, {slow, 5}, {hold, 8}, {partition, 5}, {diskFull, 4}, {diskTight, 4}, {diskLost, 3}, {logCut, 3},
	{clientKill, 4}, {clientTerm, 3}, {clientStart, 3}, {clockBack, 4}, {clockForward, 4},
	{forwarderLost, 5}, {bucketAway, 2}, {bucketSlow, 2}, {bucketRefuses, 2}, {bucketAnswersLost, 3}, {replicaSilent, 4},
	{groupAway, 4}, {groupCut, 4},
}

// plan makes the faults of a seed, in order of time.
func plan(seed uint64, o options) []fault {
	r := rand.New(rand.NewPCG(seed, 1))
	total := 0
	for _, w := range weights {
		total += w.weight
	}
	var faults []fault
	if o.moves() {
		faults = append(faults, fault{at: 2 * time.Second, kind: seriesMove})
	}
	// Some seeds leave time to recover, some hardly any.
	gap := 200*time.Millisecond + time.Duration(r.IntN(4))*200*time.Millisecond
	for at := time.Second; ; {
		at += 50*time.Millisecond + time.Duration(r.ExpFloat64()*float64(gap))
		f := fault{
			at: at, lasts: 500*time.Millisecond + rand2(r, 2500*time.Millisecond),
			target: r.IntN(1000), amount: 1 + r.IntN(1<<(4+r.IntN(13))),
		}
		if at+f.lasts > o.duration {
			break
		}
		n := r.IntN(total)
		for _, w := range weights {
			if n -= w.weight; n < 0 {
				f.kind = w.kind
				break
			}
		}
		switch f.kind {
		case kill, killServers, killAll, diskLost, clientKill, forwarderLost, groupAway:
			// Some come back at once, some after a while.
			f.lasts = rand2(r, f.lasts)
		case diskFull, diskTight:
			if o.disk == "" {
				continue
			}
		case logCut:
			if !o.cuts {
				continue
			}
		case bucketAway, bucketSlow, bucketRefuses, bucketAnswersLost:
			if !o.bucket {
				continue
			}
		}
		if f.kind == replicaSilent {
			f.lasts *= 3 // Longer than it takes to elect the other, some of them.
		}
		if f.kind == replicaSilent && !o.pair || (f.kind == groupAway || f.kind == groupCut) && !o.groups {
			continue
		}
		if f.kind == forwarderLost && o.acks == 0 {
			continue // Nothing promises that what it answered is elsewhere.
		}
		faults = append(faults, f)
	}
	slices.SortStableFunc(faults, func(a, b fault) int { return int(a.at - b.at) })
	return faults
}

func rand2(r *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(r.Int64N(int64(most) + 1))
}
