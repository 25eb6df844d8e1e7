package refset

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSet compares a set with a map, over several pages and their borders.
func TestSet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var s Set
	want := map[uint64]bool{}
	for range 20 * PageSize {
		ref := random.Uint64N(5 * PageSize)
		if random.IntN(3) > 0 {
			require.Equal(t, want[ref], s.Add(ref))
			want[ref] = true
		} else {
			s.Remove(ref)
			delete(want, ref)
		}
	}
	for ref := range uint64(6 * PageSize) {
		require.Equal(t, want[ref], s.Has(ref), ref)
	}
	require.Equal(t, len(want), s.Len())
	require.EqualValues(t, 5*(PageBytes+EntryBytes), s.Bytes())
	s.Clear()
	require.Zero(t, s.Len())
	require.False(t, s.Has(1))
	require.Zero(t, s.Bytes())
	require.False(t, s.Add(1), "the page that was used last went with the others")
	require.True(t, s.Has(1))
}

func TestNext(t *testing.T) {
	const first = 7 * PageSize // of the page
	var p Page
	for _, run := range [][2]uint64{{0, 1}, {60, 70}, {100, 300}, {PageSize - 1, PageSize}} {
		for ref := run[0]; ref < run[1]; ref++ {
			require.False(t, p.Add(first+ref))
		}
	}
	for _, end := range []uint64{1, 64, 65, 128, 300, 301, PageSize} {
		for ref := range end {
			want := ref
			for want < end && p.Has(first+want) {
				want++
			}
			require.Equal(t, first+want, p.NextMissing(first+ref, first+end), "from %d up to %d", ref, end)
			for want = ref; want < end && !p.Has(first+want); {
				want++
			}
			require.Equal(t, first+want, p.Next(first+ref, first+end), "from %d up to %d", ref, end)
		}
	}
}
