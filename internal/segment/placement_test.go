package segment

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A frame without a placement has no byte of it.
func TestNoPlacement(t *testing.T) {
	size := func(p Placement) int {
		e := NewEncoder()
		e.StartSegment(nil, Header{FirstSequence: 1})
		_, err := e.AppendKeyframe(nil, &Keyframe{NextRef: 1, Last: true}, 0, 0)
		require.NoError(t, err)
		b, err := e.AppendBlock(nil, &Block{Sequence: 1, Placement: p}, 0)
		require.NoError(t, err)
		return len(b)
	}
	require.Equal(t, FrameHeaderSize+blockSections-len(optional), size(Placement{}))
	require.Greater(t, size(Placement{Group: "a", Wire: "w"}), size(Placement{}))
}

func TestPlacementBounds(t *testing.T) {
	full := Placement{Group: strings.Repeat("g", MaxGroup), Wire: strings.Repeat("\xff", MaxPlacement)}
	b, err := appendPlacement(nil, full)
	require.NoError(t, err)
	require.LessOrEqual(t, len(b), PlacementBound)
	got, err := readPlacement(b, &FrameHeader{Flags: FlagPlacement})
	require.NoError(t, err)
	require.Equal(t, full, got)

	for name, bad := range map[string]Placement{
		"long group":       {Group: full.Group + "g", Wire: "w"},
		"long rest":        {Group: "a", Wire: full.Wire + "w"},
		"no group":         {Wire: "w"},
		"no rest":          {Group: "a"},
		"not UTF-8, group": {Group: "\xff", Wire: "w"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := appendPlacement(nil, bad)
			require.Error(t, err)
			_, err = readPlacement(appendString(appendString(nil, bad.Group), bad.Wire), &FrameHeader{Flags: FlagPlacement})
			require.Error(t, err)
		})
	}
	_, err = readPlacement(append(b, 0), &FrameHeader{Flags: FlagPlacement})
	require.ErrorIs(t, err, ErrCorrupt)
}
