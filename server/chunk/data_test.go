package chunk_test

import (
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/chunk"
)

func TestData(t *testing.T) {
	var d chunk.Data
	for seed := range uint64(100) {
		times, values := randomFloats(rand.New(rand.NewPCG(seed, 1)), 1+int(seed))
		points := make([]chunk.Point, len(times))
		for i := range times {
			points[i] = chunk.Point{T: times[i], V: values[i]}
		}
		c := chunk.Floats(points, nil)
		want := append([]byte("before"), c.Data.Bytes()...)
		require.Equal(t, want, d.Append([]byte("before"), &c), "seed %d", seed)
		encoded, err := chunkenc.FromData(chunkenc.EncXOR, c.Data.Bytes())
		require.NoError(t, err)
		c.Data = encoded
		require.Equal(t, want, d.Append([]byte("before"), &c), "seed %d", seed)
	}
}
