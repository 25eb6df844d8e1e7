package seglog

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// TestHalvesHaveAll checks that a chunk of a keyframe which is halved again and again is still
// all there, each part once, and that its last half is the last.
func TestHalvesHaveAll(t *testing.T) {
	placement := segment.Placement{Group: "a", Wire: "w"}
	for _, series := range []int{0, 1, 5} {
		for _, families := range []int{0, 1, 4} {
			for _, elections := range []int{0, 3} {
				t.Run(fmt.Sprintf("%d series, %d families, %d elections", series, families, elections), func(t *testing.T) {
					whole := segment.Keyframe{
						Sequence: 7, NextRef: 100, Last: true, Placement: placement, Latest: make([]segment.Latest, series),
						Metadata: make([]segment.Metadata, families), Elections: make([]segment.Election, elections),
					}
					for i := range series {
						whole.Series.Add(uint64(i + 1))
					}
					var got segment.Keyframe
					placements := 0
					var halve func(k *segment.Keyframe)
					halve = func(k *segment.Keyframe) {
						require.False(t, got.Last, "a chunk comes after the last")
						if k.Series.Len()+len(k.Metadata)+min(len(k.Elections), 1) >= 2 {
							a, b := halves(k)
							halve(&a)
							halve(&b)
							return
						}
						require.Equal(t, whole.Sequence, k.Sequence)
						got.Series.Refs = append(got.Series.Refs, k.Series.Refs...)
						got.Latest = append(got.Latest, k.Latest...)
						got.Metadata = append(got.Metadata, k.Metadata...)
						got.Elections = append(got.Elections, k.Elections...)
						got.Last = k.Last
						if !k.Placement.None() {
							placements++
						}
					}
					halve(&whole)
					require.Equal(t, whole.Series.Refs, got.Series.Refs)
					require.Len(t, got.Latest, series)
					require.Len(t, got.Metadata, families)
					require.Len(t, got.Elections, elections)
					require.True(t, got.Last)
					require.Equal(t, 1, placements)
				})
			}
		}
	}
}
