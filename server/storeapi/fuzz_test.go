package storeapi

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/chunk"
)

// What was not written here is told apart, or read as what writing it again comes to.
func FuzzDecodeChunk(f *testing.F) {
	var n encoder
	c := chunk.Floats([]chunk.Point{{T: -5, V: 1}, {T: 1000, V: 2.5}}, nil)
	one := n.one(nil, &c)
	f.Add(one)
	f.Add(n.one(one, &c))
	f.Add(one[:len(one)-1])
	f.Add([]byte{fieldChunks<<3 | 2, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var n encoder
		c, rest, err := decodeChunk(b)
		if err != nil {
			return
		}
		require.Less(t, len(rest), len(b))
		again, none, err := decodeChunk(n.one(nil, &c))
		require.NoError(t, err)
		require.Empty(t, none)
		require.Equal(t, c.Min, again.Min)
		require.Equal(t, c.Max, again.Max)
		require.Equal(t, c.Data.Encoding(), again.Data.Encoding())
		require.Equal(t, c.Data.Bytes(), again.Data.Bytes())
	})
}
