package seglog

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// keeping keeps the values of the blocks that are applied to it, and what they were.
type keeping struct {
	*memory
	kept, were [][]float64
}

func newKeeping() *keeping { return &keeping{memory: newMemory()} }

func (k *keeping) ApplyBlock(b *segment.Block) error {
	k.kept = append(k.kept, b.Samples.Values)
	k.were = append(k.were, slices.Clone(b.Samples.Values))
	return k.memory.ApplyBlock(b)
}

func (k *keeping) check(t *testing.T, blocks int) {
	t.Helper()
	require.Len(t, k.kept, blocks)
	require.Equal(t, k.were, k.kept)
}

// TestValuesMayBeKept keeps the values of blocks that are appended to a mirror, read when it
// is opened again, and read to rebuild a state.
func TestValuesMayBeKept(t *testing.T) {
	const blocks = 50
	p := newPair(t)
	require.NoError(t, p.r.Close())
	open := func() *keeping {
		k := newKeeping()
		var err error
		p.r, err = p.rs.OpenMirror(p.w.Log().ID(), k)
		require.NoError(t, err)
		return k
	}
	appended := open()
	p.feed(blocks)
	ship(t, p.w.Log(), p.r)
	appended.check(t, blocks)

	require.NoError(t, p.r.Close())
	open().check(t, blocks)

	rebuilt := newKeeping()
	require.NoError(t, p.r.Log().Rebuild(blocks, rebuilt, nil))
	rebuilt.check(t, blocks)
}
