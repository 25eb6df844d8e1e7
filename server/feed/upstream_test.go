package feed

import (
	"testing"

	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/segment"
)

// TestOnePieceAtATime sees that an upstream cannot have a relay keep a piece of each
// of its logs, nor one without end.
func TestOnePieceAtATime(t *testing.T) {
	in := &intake{}
	one, other := &intakeLog{}, &intakeLog{}
	part := func(offset uint64, size int) *metricsv1.SegmentData {
		return &metricsv1.SegmentData{Offset: offset, Data: make([]byte, size), Partial: true}
	}
	require.NoError(t, in.data(one, part(0, 10)))
	require.NoError(t, in.data(one, part(10, 10)))
	require.ErrorContains(t, in.data(other, part(0, 10)), "within that of another")
	require.ErrorContains(t, in.data(one, part(5, 10)), "offset 5")
	require.ErrorContains(t, in.data(one, part(20, segment.MaxPayload+4096)), "more than")
}

// TestUpstreamsThatAreGone has all of them leave the directory while one is read: when
// that one is lost, there is none to go on with yet.
func TestUpstreamsThatAreGone(t *testing.T) {
	sets := make(chan []discovery.Instance, 1)
	u := &Upstream{}
	u.adopt([]discovery.Instance{{Address: "a"}})
	sets <- nil
	require.False(t, u.mayLeave(sets, "a"))
	require.LessOrEqual(t, u.pause(7), upstreamMaxWait)
	require.Empty(t, u.any())
	sets <- []discovery.Instance{{Address: "b"}}
	address, ok := u.next(sets, u.any())
	require.True(t, ok)
	require.Equal(t, "b", address)
}
