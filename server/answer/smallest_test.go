package answer

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is collected is what collecting everything, sorting it and cutting it off gives.
func TestSmallest(t *testing.T) {
	for round := range 200 {
		limit := 1 + rand.IntN(50)
		large := round%2 == 0
		all := map[string]int{}
		var taken int64
		s := NewSmallest[int](uint32(limit), func(n int64) error { taken = n; return nil })
		for i := range rand.IntN(300) {
			key := fmt.Sprint(rand.IntN(100))
			size := len(key)
			if large {
				size = Size / (1 + len(key)*10)
			}
			all[key] = size
			require.NoError(t, s.Add(key, i, size))
			require.LessOrEqual(t, len(s.keys), limit)
			require.LessOrEqual(t, s.bytes, Size)
			require.GreaterOrEqual(t, taken, int64(s.bytes)*Cost+int64(len(s.keys))*EntryCost)
		}
		var want []string
		sum := 0
		for _, key := range slices.Sorted(maps.Keys(all)) {
			if sum += all[key]; len(want) == limit || sum > Size {
				break
			}
			want = append(want, key)
		}
		got, values, truncated := s.Sorted()
		require.Equal(t, want, got)
		require.Len(t, values, len(got))
		require.Equal(t, len(all) > len(want), truncated)
	}
}

func TestSmallestTakesTheNewest(t *testing.T) {
	s := NewSmallest[string](0, func(int64) error { return nil })
	require.NoError(t, s.Add("a", "old", 100))
	require.NoError(t, s.Add("a", "new", 7))
	require.Equal(t, 7, s.bytes)
	_, values, truncated := s.Sorted()
	require.Equal(t, []string{"new"}, values)
	require.False(t, truncated)
}

// An entry costs no more than is counted for it.
func TestSmallestCosts(t *testing.T) {
	keys := make([]string, MostEntries)
	for i := range keys {
		keys[i] = strings.Clone(fmt.Sprintf("%08d", i))
	}
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s := NewSmallest[struct{}](MostEntries, func(int64) error { return nil })
			for _, key := range keys {
				require.NoError(b, s.Add(key, struct{}{}, len(key)))
			}
		}
	})
	// Maps and slices that grow leave garbage of about the size that they have.
	require.Less(t, r.AllocedBytesPerOp(), int64(2*MostEntries*EntryCost))
}
