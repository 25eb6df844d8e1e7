package head_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// TestPlacement checks that the newest placement passes from blocks into keyframes, and from
// there into other heads, in place of what these had.
func TestPlacement(t *testing.T) {
	first, second := segment.Placement{Group: "a", Wire: "1"}, segment.Placement{Group: "a", Wire: "2"}
	h, stale := head.New(), head.New()
	require.True(t, h.Placement().None())
	apply(t, h, &segment.Block{Sequence: 1, Placement: first}, &segment.Block{Sequence: 2, Placement: second}, &segment.Block{Sequence: 3})
	apply(t, stale, &segment.Block{Sequence: 1, Placement: first})
	require.Equal(t, second, h.Placement())

	fresh := head.New()
	written(t, h, fresh, stale)
	for name, other := range map[string]*head.Head{"writer": h, "fresh": fresh, "stale": stale} {
		require.Equal(t, second, other.Placement(), name)
	}
	apply(t, stale, &segment.Block{Sequence: 4})
	require.NoError(t, stale.ApplyKeyframe(&segment.Keyframe{Sequence: 4, NextRef: 1, Last: true}))
	require.True(t, stale.Placement().None(), "a keyframe is the whole state")
}

// TestPlacementOfAKeyframeThatWasCutOff checks that what was read of it leaves no trace.
func TestPlacementOfAKeyframeThatWasCutOff(t *testing.T) {
	h := head.New()
	require.NoError(t, h.ApplyKeyframe(&segment.Keyframe{NextRef: 1, Placement: segment.Placement{Group: "a", Wire: "1"}}))
	h.RestartKeyframe()
	require.NoError(t, h.ApplyKeyframe(&segment.Keyframe{NextRef: 1, Last: true}))
	require.True(t, h.Placement().None())
}
