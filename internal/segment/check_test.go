//go:build invariants

package segment

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// An encoder that has another value of a series than its decoder makes no more frames.
func TestEncoderIsChecked(t *testing.T) {
	w := newWorld(4)
	e := NewEncoder()
	e.StartSegment(nil, Header{LogID: NewLogID(), FirstSequence: 1})
	_, err := e.AppendKeyframe(nil, w.keyframe(), w.time, 0)
	require.NoError(t, err)
	_, err = e.AppendBlock(nil, w.block(0, 4), 0)
	require.NoError(t, err)
	e.bits[3] = math.Float64bits(-7)
	require.Panics(t, func() { _, _ = e.AppendBlock(nil, w.block(0, 4), 0) })
}
