package stored

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/samples"
)

// chunksOf are chunks of all kinds, of n samples a kind, with lags and late samples.
func chunksOf(n int) []chunk.Chunk {
	var b chunk.Builder
	for i := range int64(n) {
		b.Float(10*i, uint64(i%3), float64(i))
		b.Float(10*i-5, 200, float64(i)) // late
	}
	all := b.Take()
	for i := range int64(n) {
		h := &histogram.Histogram{Count: uint64(i) + 1, Sum: 1, PositiveSpans: []histogram.Span{{Offset: 1, Length: 1}}, PositiveBuckets: []int64{i + 1}}
		b.Histogram(10_000_000+i, 0, h)
		b.FloatHistogram(20_000_000+i, 0, h.ToFloat(nil))
	}
	return append(all, b.Take()...)
}

// encode returns the messages that an encoder sends.
func encode(t testing.TB, add func(*encoder) error) (messages [][]byte) {
	t.Helper()
	e := newEncoder(func(envelope []byte) error {
		messages = append(messages, append([]byte(nil), envelope[call.PrefixSize:]...))
		return nil
	})
	require.NoError(t, add(e))
	require.NoError(t, e.end())
	return messages
}

func decode(t testing.TB, messages [][]byte) *Decoder {
	t.Helper()
	var d Decoder
	for _, m := range messages {
		require.False(t, d.Ended)
		n, err := d.Response(m)
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, int64(len(m)))
	}
	require.True(t, d.Ended)
	return &d
}

// pointsOf are the samples of a series that arrived before a time.
func pointsOf(t testing.TB, s *samples.Series, before int64) (points []string) {
	t.Helper()
	var it samples.Iterator
	it.Reset(s.Parts, before)
	for kind := it.Next(); kind != 0; kind = it.Next() {
		text := kind.String() + " " + strconv.FormatInt(it.AtT(), 10) + " " + strconv.FormatInt(it.Arrival(), 10)
		switch kind.String() {
		case "float":
			_, f := it.At()
			text += " " + strconv.FormatUint(math.Float64bits(f), 16)
		default:
			_, h := it.AtFloatHistogram(nil)
			text += " " + h.String()
		}
		points = append(points, text)
	}
	require.NoError(t, it.Err())
	return points
}

// What is decoded is what was encoded, though it takes several responses, and so is what
// the messages of the API say.
func TestSeries(t *testing.T) {
	var all []*samples.Series
	for i := range 50 {
		s := &samples.Series{Labels: labels.FromStrings("__name__", "m", "i", strconv.Itoa(100+i), "long", strings.Repeat("x", responseSize/40))}
		for j := range int64(1 + i%3) {
			s.Parts = append(s.Parts, samples.Part{Chunks: chunksOf(300), From: 100 * j, To: math.MaxInt64})
		}
		all = append(all, s)
	}
	large := &samples.Series{Labels: labels.FromStrings("__name__", "n")}
	for range 2 * responseSize / len(chunksOf(5000)) / 40 {
		large.Parts = append(large.Parts, samples.Part{Chunks: chunksOf(5000), From: math.MinInt64, To: 20_000_100})
		if len(large.Parts) == 10 {
			break
		}
	}
	all = append(all, large)
	messages := encode(t, func(e *encoder) error {
		for _, s := range all {
			if err := e.series(s, false); err != nil {
				return err
			}
		}
		return nil
	})
	require.Greater(t, len(messages), 3)
	d := decode(t, messages)
	require.Len(t, d.Series, len(all))
	for i, s := range d.Series {
		require.Equal(t, all[i].Labels, s.Labels)
		for _, before := range []int64{chunk.All, 0, 3000, 100_000} {
			require.Equal(t, pointsOf(t, all[i], before), pointsOf(t, s, before))
		}
	}
	series, cut := 0, 0
	for _, wire := range messages {
		var m queryv1.ReadSeriesResponse
		require.NoError(t, proto.Unmarshal(wire, &m))
		require.Empty(t, m.ProtoReflect().GetUnknown())
		series += len(m.GetSeries())
		require.Less(t, len(wire), 2*responseSize)
		if series > len(all) {
			cut = series - len(all)
		}
	}
	require.Positive(t, cut, "the large series is in one response")
}

func TestLabelsAndExemplars(t *testing.T) {
	one := &samples.Series{Labels: labels.FromStrings("__name__", "m", "i", "1"), Parts: []samples.Part{{Chunks: chunksOf(10)}}}
	d := decode(t, encode(t, func(e *encoder) error { return e.series(one, true) }))
	require.Equal(t, []*samples.Series{{Labels: one.Labels}}, d.Series)
	with := samples.ExemplarSeries{Labels: one.Labels, Exemplars: []exemplar.Exemplar{
		{Labels: labels.FromStrings("trace", "a"), Value: 1, Ts: 1000, HasTs: true},
		{Labels: labels.EmptyLabels(), Value: math.Inf(1), Ts: -1, HasTs: true},
	}}
	d = decode(t, encode(t, func(e *encoder) error { return e.exemplars(&with) }))
	require.Empty(t, d.Series)
	require.Equal(t, []samples.ExemplarSeries{with}, d.Exemplars)
	require.Empty(t, decode(t, encode(t, func(*encoder) error { return nil })).Series)
}

// What makes no sense is refused.
func TestInvalidResponses(t *testing.T) {
	label := func(name string) []byte {
		return appendBytes(nil, fieldLabels, appendString(appendString(nil, fieldName, name), fieldValue, "x"))
	}
	chunkWith := func(encoding, low, high int64, data string) []byte {
		c := appendInt(appendInt(appendInt(nil, fieldEncoding, encoding), fieldChunkMin, low), fieldChunkMax, high)
		return appendBytes(nil, fieldParts, appendBytes(nil, fieldChunks, appendString(c, fieldData, data)))
	}
	series := func(content ...[]byte) []byte {
		var all []byte
		for _, c := range content {
			all = append(all, c...)
		}
		return appendBytes(nil, fieldSeries, all)
	}
	for name, wire := range map[string][]byte{
		"no message":           []byte("\xff"),
		"cut off":              series(label("a"))[:5],
		"unsorted labels":      series(label("b"), label("a")),
		"a label twice":        series(label("a"), label("a")),
		"unsorted series":      append(series(label("b")), series(label("a"))...),
		"an unknown encoding":  series(label("a"), chunkWith(9, 0, 1, "\x00\x01xxx")),
		"no encoding":          series(label("a"), chunkWith(0, 0, 1, "\x00\x01xxx")),
		"a chunk without data": series(label("a"), chunkWith(1, 0, 1, "")),
		"times that go back":   series(label("a"), chunkWith(1, 1, 0, "\x00\x01xxx")),
	} {
		t.Run(name, func(t *testing.T) {
			var d Decoder
			_, err := d.Response(wire)
			require.ErrorIs(t, err, errInvalid)
		})
	}
}

// FuzzDecoder decodes anything. What it takes for series is sorted, and can be encoded.
func FuzzDecoder(f *testing.F) {
	for _, m := range encode(f, func(e *encoder) error {
		return e.series(&samples.Series{Labels: labels.FromStrings("a", "b"), Parts: []samples.Part{{Chunks: chunksOf(10), To: 1000}}}, false)
	}) {
		f.Add(m)
	}
	for _, m := range encode(f, func(e *encoder) error {
		return e.exemplars(&samples.ExemplarSeries{Labels: labels.FromStrings("a", "b"), Exemplars: []exemplar.Exemplar{{Value: 1, Ts: 2}}})
	}) {
		f.Add(m)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var d Decoder
		if _, err := d.Response(wire); err != nil {
			require.ErrorIs(t, err, errInvalid)
			return
		}
		for i, s := range d.Series {
			require.True(t, i == 0 || labels.Compare(d.Series[i-1].Labels, s.Labels) < 0)
		}
		again := decode(t, encode(t, func(e *encoder) error {
			for _, s := range d.Series {
				if err := e.series(s, false); err != nil {
					return err
				}
			}
			return nil
		}))
		require.Len(t, again.Series, len(d.Series))
		for i := range d.Series {
			require.Equal(t, d.Series[i].Labels, again.Series[i].Labels)
			require.Equal(t, d.Series[i].Parts, again.Series[i].Parts)
		}
	})
}
