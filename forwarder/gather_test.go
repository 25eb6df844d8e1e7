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

// TestGather checks that batches which are under way are answered together,
// that a slow one keeps nobody waiting forever, and that none is left out.
func TestGather(t *testing.T) {
	g := newGathering()
	expect := func(n int) {
		for range n {
			g.expect()
		}
	}
	add := func(n int) {
		for range n {
			g.add(&job{})
		}
	}
	expect(1)
	add(1)
	assert.Len(t, g.next(nil), 1, "nothing else is under way")

	expect(4)
	add(3)
	assert.Len(t, g.next(nil), 3, "all that came before the time was up")
	add(1)
	assert.Len(t, g.next(nil), 1, "the late one")
	assert.Zero(t, g.underWay.Load())

	g.end()
	assert.Empty(t, g.next(nil), "the end")
}

// TestGatherForgone checks that a group does not wait for a batch that will not come.
func TestGatherForgone(t *testing.T) {
	g := newGathering()
	g.expect()
	g.expect()
	g.add(&job{})
	assert.False(t, g.complete(), "another is under way")
	g.forgo()
	assert.True(t, g.complete())
	assert.Len(t, g.next(nil), 1)
}

// TestGatherSiblings checks that a group waits for as many as there were, but not
// forever, and that the end of ingestion ends the wait.
func TestGatherSiblings(t *testing.T) {
	g := newGathering()
	add := func() {
		g.expect()
		g.add(&job{})
	}
	g.durable(3)
	add()
	assert.Len(t, g.next(nil), 1, "the others do not come")

	groups := make(chan int)
	g.durable(2)
	go func() { groups <- len(g.next(nil)) }()
	add()
	add()
	n := <-groups
	for n < 2 { // this test was slow, and the wait was over
		n += len(g.next(nil))
	}
	assert.Equal(t, 2, n)

	g.durable(5)
	add()
	g.end()
	assert.Len(t, g.next(nil), 1, "nothing more can come")
	assert.Empty(t, g.next(nil), "the end")
}

// TestGatherAll checks that a group is complete only with all of as many as there were,
// however many these are, and that those which came during a sync count as well.
func TestGatherAll(t *testing.T) {
	g := newGathering()
	g.durable(maxPipelined)
	for range maxPipelined {
		assert.False(t, g.complete(), "one may come yet")
		g.expect()
		g.add(&job{})
	}
	assert.True(t, g.complete())
	g.expect()
	assert.False(t, g.complete(), "another is under way")
	g.durable(1)
	assert.Equal(t, maxPipelined+2, g.siblings)
}
