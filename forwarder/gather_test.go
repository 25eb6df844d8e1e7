package forwarder

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
)

func newTestIngest(changes ...func(*LimitConfig)) *ingest {
	c := DefaultLimitConfig()
	for _, change := range changes {
		change(&c)
	}
	room := newRoom(&c)
	return newIngest(&c, room.working, newMetrics(prometheus.NewRegistry(), room.used))
}

// TestGather checks that batches which are on their way are answered together,
// that a slow one keeps nobody waiting forever, and that none is left out.
func TestGather(t *testing.T) {
	in := newTestIngest()
	come := func(n int) {
		for range n {
			in.answers <- &job{}
		}
	}
	in.inflight.Store(1)
	come(1)
	assert.Len(t, in.gather(nil), 1, "nothing else is on its way")

	in.inflight.Store(4)
	come(3)
	assert.Len(t, in.gather(nil), 3, "all that came before the time was up")
	come(1)
	assert.Len(t, in.gather(nil), 1, "the late one")
	assert.Zero(t, in.inflight.Load())

	close(in.answers)
	assert.Empty(t, in.gather(nil), "the end")
}

// TestGatherSiblings checks that a group waits for as many as there were, but not
// forever, and that the end of ingestion ends the wait.
func TestGatherSiblings(t *testing.T) {
	in := newTestIngest()
	come := func() {
		in.inflight.Add(1)
		in.answers <- &job{}
	}
	in.siblings = 3
	come()
	assert.Len(t, in.gather(nil), 1, "the others do not come")

	groups := make(chan int)
	in.siblings = 2
	come()
	go func() { groups <- len(in.gather(nil)) }()
	come()
	n := <-groups
	for n < 2 { // this test was slow, and the wait was over
		n += len(in.gather(nil))
	}
	assert.Equal(t, 2, n)

	in.siblings = 5
	come()
	close(in.answers)
	assert.Len(t, in.gather(nil), 1, "nothing more can come")
	assert.Empty(t, in.gather(nil), "the end")
}

// TestGatherAll checks that a group is complete only with all of as many as there were,
// however many these are.
func TestGatherAll(t *testing.T) {
	in := newTestIngest()
	in.siblings = maxPipelined
	group := make([]*job, maxPipelined)
	assert.False(t, in.complete(group[1:]), "one may come yet")
	assert.True(t, in.complete(group))
	in.inflight.Store(1)
	assert.False(t, in.complete(group), "another is on its way")
}
