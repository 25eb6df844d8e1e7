package postings

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzSet compares a set with a list of booleans.
func FuzzSet(f *testing.F) {
	f.Add([]byte{0, 200, 3, 4, 63, 65, 64, 64, 0, 0})
	f.Fuzz(func(t *testing.T, bounds []byte) {
		want, got := make([]bool, 256), newSet(256)
		for i := 0; i+1 < len(bounds); i += 2 {
			r := Run{uint32(min(bounds[i], bounds[i+1])), uint32(max(bounds[i], bounds[i+1]))}
			in := i%4 == 0
			for p := r.From; p < r.To; p++ {
				want[p] = in
			}
			if in {
				got.add(r)
			} else {
				got.remove(r)
			}
		}
		p, seen := &setPostings{set: got}, make([]bool, 256)
		for p.Next() {
			seen[p.At()-1] = true
		}
		require.Equal(t, want, seen)
		require.False(t, p.Next())
	})
}
