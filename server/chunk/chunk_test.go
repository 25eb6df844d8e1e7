package chunk_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/chunk"
)

func TestLag(t *testing.T) {
	for _, c := range []struct {
		timestamp, block int64
		lag              uint64
		arrival          int64
	}{
		{1000, 1000, 0, 1000},
		{1000, 500, 0, 1000}, // from the future
		{1000, 1001, 1, 2000},
		{1000, 2000, 1, 2000},
		{1000, 2001, 2, 3000},
		{-1, 999, 1, 999},
		{math.MinInt64, 0, (1<<63 + 999) / 1000, math.MinInt64 + (1<<63+999)/1000*1000},
	} {
		assert.Equal(t, c.lag, chunk.Lag(c.timestamp, c.block), "%d in a block of %d", c.timestamp, c.block)
		assert.Equal(t, c.arrival, chunk.Arrival(c.timestamp, c.lag), "%d in a block of %d", c.timestamp, c.block)
	}
}

// sample is one of any kind, with what it is like as text.
type sample struct {
	t     int64
	lag   uint64
	text  string
	addTo func(*chunk.Builder)
}

func float(t int64, lag uint64, v float64) sample {
	return sample{t, lag, fmt.Sprintf("float %x", math.Float64bits(v)), func(b *chunk.Builder) { b.Float(t, lag, v) }}
}

func integer(t int64, lag uint64, h *histogram.Histogram) sample {
	return sample{t, lag, textOf(h, nil), func(b *chunk.Builder) { b.Histogram(t, lag, h) }}
}

func floats(t int64, lag uint64, h *histogram.FloatHistogram) sample {
	return sample{t, lag, textOf(nil, h), func(b *chunk.Builder) { b.FloatHistogram(t, lag, h) }}
}

// textOf says all of a histogram, empty buckets included. Of hints only gauge counts.
func textOf(h *histogram.Histogram, f *histogram.FloatHistogram) string {
	text := "histogram"
	if h == nil {
		text = "float histogram"
		h = &histogram.Histogram{CounterResetHint: f.CounterResetHint, Schema: f.Schema, ZeroThreshold: f.ZeroThreshold, Sum: f.Sum, PositiveSpans: f.PositiveSpans, NegativeSpans: f.NegativeSpans, CustomValues: f.CustomValues}
		text += fmt.Sprint(f.Count, f.ZeroCount, f.PositiveBuckets, f.NegativeBuckets)
	}
	hint := h.CounterResetHint
	if hint != histogram.GaugeType {
		hint = histogram.UnknownCounterReset
	}
	return text + fmt.Sprintf(" %d %d %v %d %d %x %v %v %v %v %v", hint, h.Schema, h.ZeroThreshold, h.ZeroCount, h.Count, math.Float64bits(h.Sum), h.PositiveSpans, h.NegativeSpans, h.PositiveBuckets, h.NegativeBuckets, h.CustomValues)
}

// read returns what an iterator yields.
func read(t *testing.T, it *chunk.Iterator) []sample {
	t.Helper()
	var all []sample
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		all = append(all, at(it, kind))
	}
	require.NoError(t, it.Err())
	return all
}

func at(it *chunk.Iterator, kind chunkenc.ValueType) sample {
	s := sample{t: it.AtT(), lag: uint64(it.Arrival()-it.AtT()) / 1000}
	switch kind {
	case chunkenc.ValFloat:
		_, v := it.At()
		s.text = fmt.Sprintf("float %x", math.Float64bits(v))
	case chunkenc.ValHistogram:
		_, h := it.AtHistogram(nil)
		s.text = textOf(h, nil)
	case chunkenc.ValFloatHistogram:
		_, h := it.AtFloatHistogram(nil)
		s.text = textOf(nil, h)
	}
	return s
}

// expected is what a reader gets of samples in order of arrival.
func expected(samples []sample, before int64) []sample {
	first := map[int64]sample{}
	for _, s := range samples {
		if _, ok := first[s.t]; !ok && (before == chunk.All || chunk.Arrival(s.t, s.lag) < before) {
			s.addTo = nil
			first[s.t] = s
		}
	}
	return slices.SortedFunc(maps.Values(first), func(a, b sample) int { return cmp.Compare(a.t, b.t) })
}

// built makes chunks, and starts over now and then.
func built(samples []sample, cut func() bool) []chunk.Chunk {
	var b chunk.Builder
	var chunks []chunk.Chunk
	for _, s := range samples {
		s.addTo(&b)
		if cut() {
			chunks = append(chunks, b.Take()...)
		}
	}
	return append(chunks, b.Take()...)
}

func never() bool { return false }

func TestBuilder(t *testing.T) {
	stale := math.Float64frombits(value.StaleNaN)
	h := tsdbutil.GenerateTestHistogram
	gauge := tsdbutil.GenerateTestGaugeHistogram
	reset := h(7)
	reset.CounterResetHint = histogram.CounterReset
	fewer := h(9).Copy()
	fewer.PositiveSpans, fewer.PositiveBuckets, fewer.Count = nil, nil, fewer.ZeroCount
	fewer.NegativeSpans, fewer.NegativeBuckets = nil, nil
	for _, c := range []struct {
		name    string
		samples []sample
		chunks  int
	}{
		{"none", nil, 0},
		{"ascending", []sample{float(1, 0, 1), float(2, 0, 2), float(3, 0, 3)}, 1},
		{"bits", []sample{float(1, 1, stale), float(2, 1, math.Copysign(0, -1)), float(3, 1, math.Inf(1)), float(4, 1, math.NaN())}, 1},
		{"far apart", []sample{float(math.MinInt64, 0, 1), float(0, 0, 2), float(math.MaxInt64, 0, 3)}, 1},
		{"a timestamp twice", []sample{float(1, 0, 1), float(1, 1, 2), float(2, 1, 3)}, 2},
		{"back", []sample{float(5, 0, 1), float(1, 1, 2), float(9, 1, 3), float(5, 1, 4), float(3, 1, 5)}, 2},
		{"kinds", []sample{float(1, 0, 1), integer(2, 0, h(1)), floats(3, 0, h(1).ToFloat(nil)), float(4, 0, 4)}, 4},
		{"growing", []sample{integer(1, 0, h(1)), integer(2, 0, h(2)), integer(3, 0, h(3))}, 1},
		{"reset", []sample{integer(1, 0, h(5)), integer(2, 0, h(1))}, 2},
		{"a reset that the sender says", []sample{integer(1, 0, h(5)), integer(2, 0, reset)}, 2},
		{"gauges", []sample{integer(1, 0, gauge(5)), integer(2, 0, gauge(1)), integer(3, 0, h(9))}, 2},
		{"other buckets", []sample{integer(1, 0, h(1)), integer(2, 0, fewer), integer(3, 0, h(10))}, 3},
		{"custom buckets", []sample{integer(1, 0, tsdbutil.GenerateTestCustomBucketsHistogram(1)), floats(2, 0, tsdbutil.GenerateTestCustomBucketsFloatHistogram(2))}, 2},
		{"ended", []sample{integer(1, 0, h(1)), integer(2, 0, &histogram.Histogram{Sum: stale}), integer(3, 0, &histogram.Histogram{Sum: stale}), integer(4, 0, h(2))}, 2},
		{"float histograms", []sample{floats(1, 0, tsdbutil.GenerateTestFloatHistogram(2)), floats(2, 3, tsdbutil.GenerateTestFloatHistogram(3)), floats(3, 3, &histogram.FloatHistogram{Sum: stale})}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			chunks := built(c.samples, never)
			assert.Len(t, chunks, c.chunks)
			assert.Equal(t, expected(c.samples, chunk.All), read(t, chunk.NewIterator(chunks, chunk.All)))
		})
	}
}

// random returns samples of all kinds as a log may have them: late, twice, ended.
func random(r *rand.Rand, n int) []sample {
	stale := math.Float64frombits(value.StaleNaN)
	block := int64(1_000_000)
	var samples []sample
	for range n {
		block += r.Int64N(2000)
		at := block - r.Int64N(3000)
		if r.IntN(5) == 0 {
			at = block - r.Int64N(100_000)
		}
		if len(samples) > 0 && r.IntN(10) == 0 {
			at = samples[r.IntN(len(samples))].t
		}
		lag := chunk.Lag(at, block)
		switch r.IntN(12) {
		case 0:
			samples = append(samples, integer(at, lag, tsdbutil.GenerateTestHistogram(r.Int64N(100))))
		case 1:
			samples = append(samples, integer(at, lag, tsdbutil.GenerateTestGaugeHistogram(r.Int64N(100))))
		case 2:
			samples = append(samples, floats(at, lag, tsdbutil.GenerateTestFloatHistogram(r.Int64N(100))))
		case 3:
			samples = append(samples, integer(at, lag, &histogram.Histogram{Sum: stale}))
		case 4:
			samples = append(samples, float(at, lag, stale))
		default:
			samples = append(samples, float(at, lag, float64(r.IntN(10))/4))
		}
	}
	return samples
}

// TestCutsDoNotShow cuts samples into chunks at random, and reads what had arrived by
// several times.
func TestCutsDoNotShow(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		samples := random(r, 1+r.IntN(300))
		often := 1 + r.IntN(50)
		chunks := built(samples, func() bool { return r.IntN(often) == 0 })
		var it chunk.Iterator
		for _, before := range []int64{chunk.All, 0, 1_000_000 + r.Int64N(300_000), 1_000_000 + r.Int64N(300_000)} {
			it.Reset(chunks, before)
			require.Equal(t, expected(samples, before), read(t, &it), "seed %d, before %d", seed, before)
			it.Reset(chunks, before)
			checkSeeks(t, r, &it, expected(samples, before))
		}
	}
}

func checkSeeks(t *testing.T, r *rand.Rand, it *chunk.Iterator, all []sample) {
	t.Helper()
	i := -1 // where it is
	for target := int64(900_000); ; target += r.Int64N(20_000) {
		var kind chunkenc.ValueType
		if r.IntN(2) == 0 {
			kind = it.Next()
			i++
		} else {
			kind = it.Seek(target)
			i = max(i, 0)
			for i < len(all) && all[i].t < target {
				i++
			}
		}
		if i >= len(all) {
			require.Equal(t, chunkenc.ValNone, kind)
			return
		}
		require.Equal(t, all[i], at(it, kind))
		target = max(target, it.AtT())
	}
}

func TestSamplesThatAreHiddenShadowNone(t *testing.T) {
	chunks := slices.Concat(
		built([]sample{float(1000, 60, 1)}, never),
		built([]sample{float(1000, 0, 2)}, never),
	)
	assert.Equal(t, expected([]sample{float(1000, 0, 2)}, chunk.All), read(t, chunk.NewIterator(chunks, 2000)))
	assert.Equal(t, expected([]sample{float(1000, 60, 1)}, chunk.All), read(t, chunk.NewIterator(chunks, chunk.All)))
}

func TestDamagedLags(t *testing.T) {
	chunks := built([]sample{float(1, 5, 1), float(2, 5, 1)}, never)
	chunks[0].Lags = chunks[0].Lags[:1]
	it := chunk.NewIterator(chunks, chunk.All)
	assert.Equal(t, chunkenc.ValFloat, it.Next())
	assert.Equal(t, chunkenc.ValNone, it.Next())
	assert.Error(t, it.Err())
}

func TestDecodeHistogram(t *testing.T) {
	custom := tsdbutil.GenerateTestCustomBucketsHistogram(3)
	for _, h := range []*histogram.Histogram{tsdbutil.GenerateTestHistogram(3), tsdbutil.GenerateTestGaugeHistogram(3), custom, {Sum: math.Float64frombits(value.StaleNaN)}} {
		ints, floats := prompb.FromIntHistogram(7, h), prompb.FromFloatHistogram(7, h.ToFloat(nil))
		data, err := ints.Marshal()
		require.NoError(t, err)
		integer, none, err := chunk.DecodeHistogram(data)
		require.NoError(t, err)
		assert.Nil(t, none)
		assert.Equal(t, textOf(h, nil), textOf(integer, nil))
		data, err = floats.Marshal()
		require.NoError(t, err)
		noInteger, float, err := chunk.DecodeHistogram(data)
		require.NoError(t, err)
		assert.Nil(t, noInteger)
		assert.Equal(t, textOf(nil, h.ToFloat(nil)), textOf(nil, float))
	}
}

func FuzzHistogram(f *testing.F) {
	for _, h := range []*histogram.Histogram{tsdbutil.GenerateTestHistogram(3), tsdbutil.GenerateTestCustomBucketsHistogram(3)} {
		ints, floats := prompb.FromIntHistogram(7, h), prompb.FromFloatHistogram(7, h.ToFloat(nil))
		for _, m := range []interface{ Marshal() ([]byte, error) }{&ints, &floats} {
			data, err := m.Marshal()
			require.NoError(f, err)
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var b chunk.Builder
		if b.Wire(1, 2, data) != nil {
			assert.Empty(t, b.Take())
			return
		}
		require.NoError(t, b.Wire(2, 2, data))
		integer, float, err := chunk.DecodeHistogram(data)
		require.NoError(t, err)
		got := read(t, chunk.NewIterator(b.Take(), chunk.All))
		require.Len(t, got, 2)
		assert.Equal(t, textOf(integer, float), got[0].text)
		assert.Equal(t, textOf(integer, float), got[1].text)
	})
}

func FuzzChunk(f *testing.F) {
	for _, c := range built(random(rand.New(rand.NewPCG(1, 0)), 60), never) {
		f.Add(chunk.Append(nil, c))
	}
	f.Add(binary.AppendUvarint([]byte{1, 0, 0}, math.MaxUint64))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, rest, err := chunk.Decode(data)
		if err != nil {
			assert.ErrorIs(t, err, chunk.ErrDamaged)
			return
		}
		again := chunk.Append(nil, c)
		d, none, err := chunk.Decode(again)
		require.NoError(t, err)
		assert.Empty(t, none)
		assert.Equal(t, c, d)
		assert.LessOrEqual(t, len(rest), len(data))
	})
}

func TestAppendDecode(t *testing.T) {
	samples := random(rand.New(rand.NewPCG(1, 0)), 300)
	chunks := built(samples, never)
	var data []byte
	for _, c := range chunks {
		data = chunk.Append(data, c)
	}
	var again []chunk.Chunk
	for rest := data; len(rest) > 0; {
		var c chunk.Chunk
		var err error
		c, rest, err = chunk.Decode(rest)
		require.NoError(t, err)
		again = append(again, c)
	}
	assert.Equal(t, expected(samples, chunk.All), read(t, chunk.NewIterator(again, chunk.All)))
	first := chunk.Append(nil, chunks[0])
	for i := range first {
		damaged := slices.Clone(first)
		damaged[i] ^= 4
		_, _, err := chunk.Decode(damaged)
		require.ErrorIs(t, err, chunk.ErrDamaged, "byte %d", i)
		_, _, err = chunk.Decode(first[:i])
		require.ErrorIs(t, err, chunk.ErrDamaged, "%d bytes", i)
	}
}

// Lags that are all the same are there once, however many bytes each has.
func TestEqualLags(t *testing.T) {
	const n = 100
	for _, lag := range []uint64{1, 127, 128, 1 << 40} {
		var b chunk.Builder
		for i := range int64(n) {
			b.Float(i, lag, 1)
		}
		whole := b.Take()
		data := chunk.Append(nil, whole[0])
		assert.Less(t, len(data), len(whole[0].Data.Bytes())+40)
		again, _, err := chunk.Decode(data)
		require.NoError(t, err)
		assert.Equal(t, whole[0].Lags, again.Lags)
	}
}

// What a builder has so far is what it gives in the end, and it goes on.
func TestChunksOfABuilder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	for range 20 {
		samples := random(r, 300)
		var b chunk.Builder
		for i, s := range samples {
			s.addTo(&b)
			if r.IntN(20) == 0 {
				assert.Equal(t, expected(samples[:i+1], chunk.All), read(t, chunk.NewIterator(b.Chunks(), chunk.All)))
			}
			require.Positive(t, b.Bytes())
		}
		assert.Equal(t, expected(samples, chunk.All), read(t, chunk.NewIterator(b.Take(), chunk.All)))
	}
}
