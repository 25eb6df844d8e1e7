package seglog

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// counting counts the blocks that are applied.
type counting struct {
	wide
	blocks int
}

func (c *counting) ApplyBlock(*segment.Block) error {
	c.blocks++
	return nil
}

// TestPieceThatBecomesVeryMuch has a mirror take over a piece of a log of which
// little is to be read and much to be decoded: large blocks that are all alike. They
// are not decoded all at once, and all are applied.
func TestPieceThatBecomesVeryMuch(t *testing.T) {
	const blocks, size = 40, 1 << 20
	o := testOptions(nil)
	o.Sync = SyncNever
	from, to := mustStore(t, t.TempDir(), o), mustStore(t, t.TempDir(), o)
	w, err := from.OpenWriter(&wide{n: 10})
	require.NoError(t, err)
	defer w.Close()
	applied := &counting{}
	r, err := to.OpenMirror(w.Log().ID(), applied)
	require.NoError(t, err)
	defer r.Close()
	x := &segment.Block{Exemplars: []segment.Exemplar{{Ref: 1, Data: make([]byte, size)}}}
	for range blocks {
		_, err := w.Append(x)
		require.NoError(t, err)
	}
	require.NoError(t, w.WaitDurable(x.Sequence))

	raw, err := w.Log().ReadRaw(t.Context(), 0)
	require.NoError(t, err)
	defer raw.Close()
	most, decoded := 0, 0
	for r.Log().Last() < x.Sequence {
		c, err := raw.Next(t.Context())
		require.NoError(t, err)
		if c.Start {
			require.NoError(t, r.StartSegment(c.SegmentName, c.FirstSequence))
		}
		n, err := r.verify(c.Data)
		require.NoError(t, err)
		decoded = max(decoded, int(n))
		require.NoError(t, r.Append(c.Offset, c.Data))
		most = max(most, len(r.frames))
	}
	require.Greater(t, decoded, blocks*size/2, "pieces that become very much came")
	require.Equal(t, blocks, applied.blocks)
	require.LessOrEqual(t, most, decodeAtOnce/(size)+1, "frames that were decoded at once")
}
