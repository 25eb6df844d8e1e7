package segment

import (
	"bytes"
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
		s := samplesOf(want...)
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

// part is a sample or a histogram.
type part struct {
	Sample
	histogram string
}

// partsOf are the samples and histograms of a block in order.
func partsOf(b *Block) (parts []part) {
	for p, h := range b.Parts() {
		if h != nil {
			parts = append(parts, part{Sample{Ref: h.Ref, Timestamp: h.Timestamp}, string(h.Data)})
		}
		for i, v := range p.Values {
			parts = append(parts, part{Sample: Sample{p.First + uint64(i), p.Timestamp, p.StartTimestamp, v}})
		}
	}
	return parts
}

// Samples and histograms come out of a block in the order in which they were put
// in, whatever it is, also of one that was encoded.
func TestOrderOfParts(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	h, keys, _ := testSegment()
	for round := range 500 {
		b := &Block{Sequence: h.FirstSequence}
		var want []part
		for range random.IntN(40) {
			p := part{Sample: Sample{Ref: []uint64{1, 2, 7, 8}[random.IntN(4)], Timestamp: random.Int64N(3)}}
			if random.IntN(1+round%4) > 0 {
				p.histogram = string(rune('a' + random.IntN(26)))
				b.AddHistogram(p.Ref, p.Timestamp, []byte(p.histogram))
			} else {
				p.Value = random.Float64()
				b.Samples.Add(p.Sample)
			}
			want = append(want, p)
		}
		require.Equal(t, want, partsOf(b))
		for range b.Parts() {
			break
		}
		e := NewEncoder()
		out := e.StartSegment(nil, h)
		for _, k := range keys {
			var err error
			out, err = e.AppendKeyframe(out, k, 0, 0)
			require.NoError(t, err)
		}
		out, err := e.AppendBlock(out, b, 0)
		require.NoError(t, err)
		require.Equal(t, want, partsOf(decoded(t, out)))
	}
}

// decoded is the last block of a segment.
func decoded(t *testing.T, b []byte) *Block {
	t.Helper()
	r, err := NewReader(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	var f Frame
	for r.Offset() < int64(len(b)) {
		require.NoError(t, r.Next(int64(len(b)), &f))
	}
	return f.Block
}

// A histogram that comes before the one before it, or after more samples than
// there are, cannot be written.
func TestHistogramsOutOfPlace(t *testing.T) {
	h, keys, _ := testSegment()
	for _, after := range [][]int{{-1}, {2}, {1, 0}, {0, 1, 2}} {
		e := NewEncoder()
		e.StartSegment(nil, h)
		for _, k := range keys {
			_, err := e.AppendKeyframe(nil, k, 0, 0)
			require.NoError(t, err)
		}
		b := &Block{Sequence: h.FirstSequence, Samples: samplesOf(Sample{Ref: 1})}
		for _, n := range after {
			b.Histograms = append(b.Histograms, Histogram{Ref: 1, After: n})
		}
		_, err := e.AppendBlock(nil, b, 0)
		require.ErrorIs(t, err, ErrCorrupt)
		b.Histograms = nil
		_, err = e.AppendBlock(nil, b, 0)
		require.NoError(t, err, "nothing is left of the block that was refused")
	}
}
