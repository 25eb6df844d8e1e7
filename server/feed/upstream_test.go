package feed

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/discovery"
)

// All upstreams leave the directory while one is read. When that one is lost, there is
// no other yet.
func TestUpstreamsThatAreGone(t *testing.T) {
	sets := make(chan []discovery.Instance, 1)
	u := &Upstream{}
	u.setAddresses([]discovery.Instance{{Address: "a"}})
	sets <- nil
	require.False(t, u.mayLeave(sets, "a"))
	require.LessOrEqual(t, u.pause(7), upstreamMaxWait)
	require.Empty(t, u.any())
	sets <- []discovery.Instance{{Address: "b"}}
	address, ok := u.next(sets, u.any())
	require.True(t, ok)
	require.Equal(t, "b", address)
}
