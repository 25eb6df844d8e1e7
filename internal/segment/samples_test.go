package segment

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Samples come out as they were put in, by one and by parts.
func TestSamples(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var want []Sample
		ref, at, start := uint64(1), int64(0), int64(0)
		for range random.IntN(40) {
			if ref++; random.IntN(5) == 0 {
				ref = 1 + random.Uint64N(20)
			}
			if random.IntN(4) == 0 {
				at = random.Int64N(3)
			}
			if random.IntN(10) == 0 {
				start = random.Int64N(2)
			}
			want = append(want, Sample{Ref: ref, Timestamp: at, StartTimestamp: start, Value: random.Float64()})
		}
		s := SamplesOf(want...)
		require.True(t, s.whole())
		require.Equal(t, len(want), s.Len())
		require.Equal(t, want, slices.Collect(s.All()))
		var got []Sample
		parts := 0
		for p := range s.Parts() {
			require.NotEmpty(t, p.Values)
			for i, v := range p.Values {
				got = append(got, Sample{p.First + uint64(i), p.Timestamp, p.StartTimestamp, v})
			}
			parts++
		}
		require.Equal(t, want, got)
		require.LessOrEqual(t, parts, len(s.Refs)+len(s.Times)+len(s.Starts))
		for i := 1; i < len(s.Refs); i++ {
			require.NotEqual(t, s.Refs[i].First, s.Refs[i-1].First+uint64(s.Refs[i-1].Length), "a run that goes on")
		}
		for range s.All() {
			break
		}
		for range s.Parts() {
			break
		}
		s.Reset()
		require.Empty(t, slices.Collect(s.All()))
		require.Empty(t, slices.Collect(s.Parts()))
	}
}
