package chunk_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/chunk"
)

// TestAppendXOR compares the bytes with those that chunkenc writes.
func TestAppendXOR(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 0))
		times, values := randomFloats(r, 1+r.IntN(200))
		c := chunkenc.NewXORChunk()
		app, err := c.Appender()
		require.NoError(t, err)
		for i := range times {
			app.Append(0, times[i], values[i])
		}
		require.Equal(t, append([]byte("before"), c.Bytes()...), chunk.AppendXOR([]byte("before"), times, values), "seed %d", seed)
	}
}

// randomFloats returns scrapes at almost regular intervals, or at any, of a counter, a
// gauge, or any bits.
func randomFloats(r *rand.Rand, n int) (times []int64, values []float64) {
	t, v := r.Int64N(1<<41), 0.0
	if r.IntN(4) == 0 {
		t = -t
	}
	interval, jitter := 1+r.Int64N(100_000), int64(1)<<r.IntN(5)
	kind, regular := r.IntN(4), r.IntN(3) > 0
	for range n {
		times, values = append(times, t), append(values, v)
		if t += interval + r.Int64N(jitter); !regular {
			t += r.Int64N(1 << r.IntN(40))
		}
		switch kind {
		case 0:
			v += float64(r.IntN(100))
		case 1:
			v = r.Float64()
		case 2:
			v = math.Float64frombits(r.Uint64())
		default:
			if r.IntN(3) == 0 {
				v = float64(r.IntN(10)) / 4
			}
		}
	}
	return times, values
}

func BenchmarkAppendXOR(b *testing.B) {
	times, values := randomFloats(rand.New(rand.NewPCG(6, 0)), 12)
	var dst []byte
	for b.Loop() {
		dst = chunk.AppendXOR(dst[:0], times, values)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(times)), "ns/sample")
}
