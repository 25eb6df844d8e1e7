package segment

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// bound of a block, from those of its parts.
func bound(b *Block) int {
	n := FrameBound + SeriesBound*b.Series.Len() + IndexBound*len(b.Series.Indexes) + SampleBound*b.Samples.Len()
	for _, l := range b.Series.Labels {
		n += LabelBound + len(l.Name) + len(l.Value)
	}
	for _, h := range b.Histograms {
		n += EntryBound + len(h.Data)
	}
	for _, e := range b.Exemplars {
		n += EntryBound + len(e.Data)
	}
	for _, m := range b.Metadata {
		n += EntryBound + len(m.Family) + len(m.Help) + len(m.Unit)
	}
	for _, e := range b.Verdict.Errors {
		n += EntryBound + len(e)
	}
	return n
}

// wildBlock has as little in order as can be: every number takes as many bytes as
// it ever does, and nothing is like what is before it.
func wildBlock(rnd *rand.Rand, series int, next uint64) *Block {
	b := &Block{}
	wild := func() int64 { return []int64{math.MinInt64, math.MaxInt64, 0, -1, int64(rnd.Uint64())}[rnd.IntN(5)] }
	labels := 1 + rnd.IntN(300)
	for range labels {
		b.Series.Labels = append(b.Series.Labels, Label{strings.Repeat("n", rnd.IntN(3)), strings.Repeat("v", rnd.IntN(300))})
	}
	for i := range rnd.IntN(40) {
		row := make([]uint32, rnd.IntN(5))
		for j := range row {
			row[j] = uint32(rnd.IntN(labels))
		}
		b.Series.Add(next+uint64(i)<<40, row...)
	}
	ref := func() uint64 { return 1 + rnd.Uint64N(uint64(series)) }
	for range rnd.IntN(200) {
		b.Samples.Add(Sample{ref(), wild(), wild(), math.Float64frombits(rnd.Uint64())})
	}
	text := func() string { return strings.Repeat("x", rnd.IntN(200)) }
	for range rnd.IntN(20) {
		b.Histograms = append(b.Histograms, Histogram{ref(), wild(), b.Samples.Len(), []byte(text())})
		b.Exemplars = append(b.Exemplars, Exemplar{ref(), []byte(text())})
		b.Metadata = append(b.Metadata, Metadata{text(), int32(wild()), text(), text()})
		b.Verdict.Errors = append(b.Verdict.Errors, text())
	}
	return b
}

// TestBound has no block take more than its parts are said to.
func TestBound(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	const series = 1 << 17 // so that an ordinal takes three bytes
	e := NewEncoder()
	buf := e.StartSegment(nil, Header{LogID: NewLogID(), FirstSequence: 1})
	k := &Keyframe{NextRef: series + 1, Last: true, Latest: make([]Latest, series)}
	for i := range series {
		k.Series.Add(uint64(i + 1))
	}
	var err error
	if buf, err = e.AppendKeyframe(buf, k, 0, 0); err != nil {
		t.Fatal(err)
	}
	next := uint64(series + 1)
	for i := range 3000 {
		b := wildBlock(rnd, series, next)
		b.Sequence = uint64(i + 1)
		if n := b.Series.Len(); n > 0 {
			next = b.Series.Refs[n-1] + 1
		}
		if buf, err = e.AppendBlock(buf[:0], b, 0); err != nil {
			t.Fatal(err)
		}
		h, err := ParseFrameHeader(buf)
		if err != nil {
			t.Fatal(err)
		}
		if most := bound(b); int(h.RawLen) > most {
			t.Fatalf("block %d takes %d bytes, and its bound is %d", i, h.RawLen, most)
		}
	}
}

// TestBoundIsWithinTheCounts checks that a block within the bytes is within the other
// limits of a frame.
func TestBoundIsWithinTheCounts(t *testing.T) {
	for _, c := range []struct{ bound, most int }{
		{SeriesBound, MaxSeries}, {IndexBound, MaxLabels}, {LabelBound, MaxLabels}, {SampleBound, MaxSamples}, {EntryBound, MaxEntries},
	} {
		if MaxPayload/c.bound > c.most {
			t.Errorf("a payload has room for %d of %d bytes, and there may be %d", MaxPayload/c.bound, c.bound, c.most)
		}
	}
}
