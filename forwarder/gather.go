package forwarder

import (
	"time"

	"github.com/promgrpc/exporter/internal/invariant"
)

// gatherFor bounds how long an appended batch waits for others.
const gatherFor = 2 * time.Millisecond

// gather collects the batches that share a sync, and the wake-ups after it, here and in
// the receivers: one, those that are in the stages before, and as many as were under way
// when the last group was durable, since senders that have more send again as soon as they
// are answered. One sender alone waits for nobody. An empty group means that there is
// nothing more to come.
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
	return len(group) >= in.siblings && in.inflight.Load() == 0
}
