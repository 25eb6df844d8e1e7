package storeapi

import (
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/chunk"
)

// What ends a histogram is one, as in Prometheus' database, also where another log has it;
// what ends a float, and what nothing comes before, is a float.
func TestWhatEndsAHistogramIsOne(t *testing.T) {
	stale := math.Float64frombits(value.StaleNaN)
	one := func(add func(b *chunk.Builder)) []chunk.Chunk {
		var b chunk.Builder
		add(&b)
		return b.Take()
	}
	ends := func(at int64) []chunk.Chunk { return one(func(b *chunk.Builder) { b.Float(at, 0, stale) }) }
	integers := one(func(b *chunk.Builder) { b.Histogram(1, 0, tsdbutil.GenerateTestHistogram(1)) })
	floats := one(func(b *chunk.Builder) { b.FloatHistogram(1, 0, tsdbutil.GenerateTestFloatHistogram(1)) })
	value := one(func(b *chunk.Builder) { b.Float(1, 0, 1) })
	again := one(func(b *chunk.Builder) {
		b.Float(2, 0, stale)
		b.Float(3, 0, 1)
		b.Float(4, 0, stale)
	})
	for name, test := range map[string]struct {
		places [][]chunk.Chunk
		want   []chunkenc.Encoding
	}{
		"a histogram":                    {[][]chunk.Chunk{slices.Concat(integers, ends(2))}, []chunkenc.Encoding{chunkenc.EncHistogram, chunkenc.EncHistogram}},
		"a float histogram":              {[][]chunk.Chunk{slices.Concat(floats, ends(2))}, []chunkenc.Encoding{chunkenc.EncFloatHistogram, chunkenc.EncFloatHistogram}},
		"a float":                        {[][]chunk.Chunk{slices.Concat(value, ends(2))}, []chunkenc.Encoding{chunkenc.EncXOR, chunkenc.EncXOR}},
		"nothing":                        {[][]chunk.Chunk{ends(2)}, []chunkenc.Encoding{chunkenc.EncXOR}},
		"a histogram, which is a float":  {[][]chunk.Chunk{slices.Concat(integers, again)}, []chunkenc.Encoding{chunkenc.EncHistogram, chunkenc.EncHistogram, chunkenc.EncXOR}},
		"a histogram, in another log":    {[][]chunk.Chunk{integers, ends(2)}, []chunkenc.Encoding{chunkenc.EncHistogram, chunkenc.EncHistogram}},
		"a histogram that comes in both": {[][]chunk.Chunk{slices.Concat(integers, ends(2)), integers}, []chunkenc.Encoding{chunkenc.EncHistogram, chunkenc.EncHistogram}},
	} {
		var n encoder
		var places [][]byte
		for _, chunks := range test.places {
			written, mixed, err := n.append(nil, chunks, span{0, 10})
			require.NoError(t, err, name)
			require.False(t, mixed, name)
			places = append(places, written)
		}
		written := places[0]
		if len(places) > 1 {
			var err error
			written, err = n.merge(nil, places...)
			require.NoError(t, err, name)
		}
		require.NoError(t, n.decode([][]byte{written}))
		var got []chunkenc.Encoding
		for _, c := range n.all {
			got = append(got, c.Data.Encoding())
		}
		require.Equal(t, test.want, got, name)
	}
}
