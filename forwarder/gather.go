package forwarder

import (
	"time"

	"github.com/promgrpc/exporter/internal/invariant"
)

const (
	// gatherFor bounds how long an appended batch waits for others.
	gatherFor = 2 * time.Millisecond
	// enough is how many batches make a sync cheap. A group of them waits only
	// for those that are on their way.
	enough = 4
)

// gather collects the batches that share a sync, and the wake-up after it: one, those
// that are in the stages before, and as many as were under way when the last group was
// durable, since senders that have more send again as soon as they are answered. One
// sender alone waits for nobody. An empty group means that there is nothing more to
// come.
func (in *ingest) gather(group []*job) []*job {
	group = group[:0]
	j, ok := <-in.answers
	if !ok {
		return group
	}
	in.inflight.Add(-1)
	group = append(group, j)
	if in.complete(group) {
		return group
	}
	timeout := time.NewTimer(gatherFor)
	defer timeout.Stop()
	for !in.complete(group) {
		select {
		case j, ok := <-in.answers:
			if !ok {
				return group
			}
			in.inflight.Add(-1)
			group = append(group, j)
		case <-timeout.C:
			return group
		}
	}
	return group
}

func (in *ingest) complete(group []*job) bool {
	if invariant.On {
		invariant.Check(in.inflight.Load() >= 0, "%d batches are on their way", in.inflight.Load())
	}
	return len(group) >= min(in.siblings, enough) && in.inflight.Load() == 0
}
