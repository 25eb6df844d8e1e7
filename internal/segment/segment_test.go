package segment

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// bitwise compares floats by their bits, and nil with empty as equal where the
// format does not tell them apart.
var bitwise = cmp.Options{
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
	cmp.Comparer(func(a, b []byte) bool {
		return bytes.Equal(a, b) && (a == nil) == (b == nil) || len(a) == 0 && len(b) == 0
	}),
}

var odd = []float64{
	0, math.Copysign(0, -1), 1, -1, 0.1, -0.1, 12.34, 1e-9, 1.5e-9, 1e300, -1e300,
	math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), math.NaN(),
	math.Float64frombits(staleNaN), math.Float64frombits(0xfff8000000000001), math.Float64frombits(1),
	1 << 53, 1<<53 - 1, -(1<<53 - 1), -(1 << 53), 1<<53 + 2, 1 << 62, 1 << 63, -(1 << 63),
	9007199254.740991, 9007199.254740991, 123456789.123, 0.30000000000000004, 1.0 / 3,
}

// testSegment is a small segment with everything in it.
func testSegment() (Header, []*Keyframe, []*Block) {
	id, _ := ParseLogID("000102030405060708090a0b0c0d0e0f")
	h := Header{LogID: id, FirstSequence: 42, CreateTime: 1795394533123, PrevChecksum: 0xdeadbeef}
	keys := []*Keyframe{
		{
			Sequence: 41, NextRef: 1000,
			Series: SeriesTable{
				Labels:  []Label{{"__name__", "up"}, {"job", "a"}, {"job", "b"}, {"instance", "ü"}, {"job", ""}},
				Refs:    []uint64{1, 2, 7, 8},
				Indexes: []uint32{0, 1, 0, 2, 0, 3, 4},
				Ends:    []uint32{2, 4, 7, 7},
			},
			Latest: []Latest{
				{Timestamp: 1000, Value: 1, Written: 1001},
				{Timestamp: 900, StartTimestamp: 3, Value: math.Float64frombits(staleNaN), Written: 1001},
				{None: true, Written: 7},
				{Timestamp: -5, Histogram: []byte{8, 1}, Written: 999},
			},
			Metadata: []Metadata{{Family: "up", Type: 2, Help: "Is it up?", Unit: ""}},
			Elections: []Election{
				{Tenant: "t", Cluster: "c", Replica: "r", Term: 1, ClaimTime: 1795394533123, LogID: id, HeardTime: 1795394539123},
				{Cluster: "ü", Replica: "", Term: MaxTerm, ClaimTime: -MaxElectionTime, LogID: LogID{15: 1}, HeardTime: MaxElectionTime},
			},
		},
		{
			Sequence: 41, NextRef: 1000, Last: true,
			Series: TableOf(Series{Ref: 999, Labels: Labels{{"__name__", "x"}}}),
			Latest: []Latest{{Timestamp: 1, Value: 0.25}},
			// In a chunk without elections.
			Placement: Placement{Group: "ü", Wire: "wire"},
		},
	}
	first := &Block{
		Sequence: 42, Time: 2000, Digest: [16]byte{1, 2, 3, 15: 9},
		Verdict: Verdict{Samples: 5, Histograms: 1, Exemplars: 2, Rejected: 3, Code: 2, Limits: 7, Errors: []string{"out of bounds", ""}},
		Series:  TableOf(Series{1000, Labels{{"__name__", "y"}}}, Series{1010, Labels{{"__name__", "z"}}}),
		Samples: samplesOf(
			Sample{Ref: 1, Timestamp: 2000, Value: 1},
			Sample{Ref: 1, Timestamp: 1999, StartTimestamp: 5, Value: 2},
			Sample{Ref: 1010, Timestamp: math.MinInt64, Value: 12.5},
			Sample{Ref: 2, Timestamp: math.MaxInt64, StartTimestamp: math.MaxInt64, Value: math.Float64frombits(staleNaN)},
			Sample{Ref: 999, StartTimestamp: math.MinInt64, Value: math.Copysign(0, -1)},
		),
		Histograms: []Histogram{{Ref: 8, Timestamp: 2000, After: 1, Data: []byte("histogram")}, {Ref: 1, Timestamp: -1, After: 5}},
		Exemplars:  []Exemplar{{Ref: 2, Data: []byte("exemplar")}, {Ref: 1}},
		Metadata:   []Metadata{{Family: "y", Type: -1, Help: "h", Unit: "seconds"}},
		Elections:  []Election{{Tenant: "t", Cluster: "c", Replica: "r2", Term: 2, ClaimTime: 2000, LogID: id, HeardTime: 1999}},
		Placement:  Placement{Group: "ü", Wire: "another"},
	}
	second := &Block{Sequence: 43, Time: 2001}
	for i, v := range odd {
		second.Samples.Add(Sample{Ref: []uint64{1, 2, 7}[i%3], Timestamp: int64(i), Value: v})
	}
	return h, keys, []*Block{first, second, {Sequence: 44, Time: 2002, Placement: Placement{Group: "ü", Wire: "a third"}}}
}

func encodeTest(t testing.TB) []byte {
	h, keys, blocks := testSegment()
	e := NewEncoder()
	b := e.StartSegment(nil, h)
	var err error
	for _, k := range keys {
		b, err = e.AppendKeyframe(b, k, h.CreateTime, 0)
		require.NoError(t, err)
	}
	synced := uint64(len(b))
	for _, x := range blocks {
		b, err = e.AppendBlock(b, x, synced)
		require.NoError(t, err)
	}
	b, err = e.AppendFooter(b, 3000, synced)
	require.NoError(t, err)
	_, err = e.AppendBlock(b, &Block{Sequence: 45}, 0)
	require.ErrorIs(t, err, ErrCorrupt)
	return b
}

// checkTest compares what is read from b with testSegment.
func checkTest(t testing.TB, b []byte) {
	h, keys, blocks := testSegment()
	size := int64(len(b))
	r, err := NewReader(bytes.NewReader(b), size)
	require.NoError(t, err)
	got := r.Header()
	got.Checksum = 0
	require.Equal(t, h, got)
	var f Frame
	for _, want := range keys {
		require.NoError(t, r.Next(size, &f))
		require.Empty(t, cmp.Diff(want, &f.Keyframe, bitwise, emptyIsNil))
	}
	for _, want := range blocks {
		f.Block = nil
		require.NoError(t, r.Next(size, &f))
		require.Empty(t, cmp.Diff(want, f.Block, bitwise, emptyIsNil))
		require.Equal(t, want.Verdict.Samples, f.Header.Verdict.Samples)
	}
	require.NoError(t, r.Next(size, &f))
	require.Equal(t, KindFooter, f.Header.Kind)
	require.Equal(t, uint64(44), f.Header.Sequence)
	require.Equal(t, uint32(5+len(odd)), f.Header.Samples)
	require.Equal(t, int64(math.MinInt64), f.Header.MinTime)
	require.ErrorIs(t, r.Next(size, &f), io.EOF)
}

var emptyIsNil = cmp.Options{
	emptyIsNilFor[Label](), emptyIsNilFor[uint64](), emptyIsNilFor[RefRun](), emptyIsNilFor[TimeRun](), emptyIsNilFor[float64](), emptyIsNilFor[uint32](), emptyIsNilFor[Latest](), emptyIsNilFor[Metadata](),
	emptyIsNilFor[Histogram](), emptyIsNilFor[Exemplar](), emptyIsNilFor[Election](),
}

func emptyIsNilFor[T any]() cmp.Option {
	return cmp.FilterValues(func(a, b []T) bool { return len(a) == 0 && len(b) == 0 }, cmp.Ignore())
}

func TestRoundTrip(t *testing.T) { checkTest(t, encodeTest(t)) }

// The golden file was written by this version of the format, and has to be
// readable. Its bytes may change only where the compressor does.
func TestGolden(t *testing.T) {
	const name = "testdata/golden.seg"
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(name, encodeTest(t), 0o644))
	}
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	checkTest(t, b)
	require.Equal(t, b, encodeTest(t))
}

func TestDeterministic(t *testing.T) {
	_, blocks := benchBlocks(4000, 2000, 5)
	key := newWorld(4000).keyframe()
	var first []byte
	for range 3 {
		e := NewEncoder()
		e.StartSegment(nil, Header{FirstSequence: 9})
		var b []byte
		for range 2 { // an encoder that has been used before, too
			var err error
			b = e.StartSegment(nil, Header{FirstSequence: 1})
			b, err = e.AppendKeyframe(b, key, 0, 0)
			require.NoError(t, err)
			for _, x := range blocks {
				b, err = e.AppendBlock(b, x, 0)
				require.NoError(t, err)
			}
		}
		if first == nil {
			first = b
		}
		require.True(t, bytes.Equal(first, b))
	}
}

// An encoder that goes on from a decoder writes the same bytes.
func TestEncoderFromDecoder(t *testing.T) {
	b := encodeTest(t)
	_, _, blocks := testSegment()
	size := int64(len(b))
	r, err := NewReader(bytes.NewReader(b), size)
	require.NoError(t, err)
	var f Frame
	for range 3 {
		require.NoError(t, r.Next(size, &f))
	}
	synced := f.Header.Synced
	e := r.Decoder().Encoder()
	out := b[:r.Offset():r.Offset()]
	for _, x := range blocks[1:] {
		out, err = e.AppendBlock(out, x, synced)
		require.NoError(t, err)
	}
	out, err = e.AppendFooter(out, 3000, synced)
	require.NoError(t, err)
	require.Equal(t, b, out)
}

func TestValuesBitForBit(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	var values []uint64
	for _, a := range odd {
		for _, b := range odd {
			values = append(values, math.Float64bits(a), math.Float64bits(b))
		}
	}
	for range 20000 {
		scale := pow10[rnd.IntN(10)]
		for _, v := range []float64{
			math.Round(rnd.NormFloat64()*scale) / pow10[rnd.IntN(10)], rnd.NormFloat64() * scale,
			float64(rnd.Int64N(1 << 60)), math.Float64frombits(rnd.Uint64()),
		} {
			values = append(values, math.Float64bits(v))
		}
	}
	var c valueColumns
	c.reset(len(values))
	previous := []uint64{0}
	for i, v := range values {
		c.append(i, []float64{math.Float64frombits(v)}, previous)
		require.Equal(t, v, previous[0])
	}
	previous[0] = 0
	got := []float64{0}
	for i, want := range values {
		if !c.next(i, previous, got) || math.Float64bits(got[0]) != want {
			t.Fatalf("value %d: %v, want %v (%x)", i, got, math.Float64frombits(want), want)
		}
	}
	require.True(t, c.done())
}

func TestEncoderRefusesAndGoesOn(t *testing.T) {
	h, keys, blocks := testSegment()
	whole := encodeTest(t)
	e := NewEncoder()
	b := e.StartSegment(nil, h)
	refuse := func(x *Block, target error) {
		t.Helper()
		out, err := e.AppendBlock(b, x, uint64(len(b)))
		require.ErrorIs(t, err, target)
		require.Len(t, out, len(b))
	}
	refuse(blocks[0], ErrCorrupt) // no keyframe yet
	var err error
	for _, k := range keys {
		bad := *k
		bad.Series = bad.Series.Part(0, bad.Series.Len())
		bad.Series.Add(5)
		bad.Latest = append(bad.Latest[:len(bad.Latest):len(bad.Latest)], Latest{})
		_, err = e.AppendKeyframe(b, &bad, h.CreateTime, 0)
		require.ErrorIs(t, err, ErrCorrupt)
		b, err = e.AppendKeyframe(b, k, h.CreateTime, 0)
		require.NoError(t, err)
	}
	synced := uint64(len(b))
	for _, x := range blocks {
		series := TableOf(Series{5000, Labels{{"a", "b"}}})
		refuse(&Block{Sequence: x.Sequence + 1}, ErrCorrupt)
		refuse(&Block{Sequence: x.Sequence, Series: TableOf(Series{5000, Labels{{"a", "b"}}}, Series{Ref: 3})}, ErrCorrupt)
		refuse(&Block{Sequence: x.Sequence, Series: SeriesTable{Refs: []uint64{5000}, Indexes: []uint32{0}, Ends: []uint32{1}}}, ErrCorrupt)
		refuse(&Block{Sequence: x.Sequence, Samples: Samples{Refs: []RefRun{{1, 1}}}}, ErrCorrupt)
		unknown := &Block{Sequence: x.Sequence, Series: series, Samples: samplesOf(
			Sample{Ref: 1, Timestamp: 1, Value: 9}, Sample{Ref: 5000, Timestamp: 2, Value: 9}, Sample{Ref: 5001, Timestamp: 2, Value: 9})}
		var ref *UnknownRefError
		_, err = e.AppendBlock(b, unknown, 0)
		require.ErrorAs(t, err, &ref)
		refuse(&Block{Sequence: x.Sequence, Series: series,
			Samples:   samplesOf(Sample{Ref: 1, Timestamp: 1, Value: 9}, Sample{Ref: 5000, Timestamp: 2, Value: 9}, Sample{Ref: 1, Timestamp: 3, Value: 10}),
			Exemplars: []Exemplar{{Ref: 1, Data: make([]byte, MaxPayload)}}}, ErrTooLarge)
		b, err = e.AppendBlock(b, x, synced)
		require.NoError(t, err)
	}
	b, err = e.AppendFooter(b, 3000, synced)
	require.NoError(t, err)
	require.Equal(t, whole, b, "a refused block leaves no trace")
}

// Each byte of a segment flipped, and the segment cut there: an error, and the
// frames before are read as they were.
func TestFlippedAndCut(t *testing.T) {
	b := encodeTest(t)
	for at := range b {
		flipped := append([]byte(nil), b...)
		flipped[at] ^= 0x20
		for _, in := range [][]byte{flipped, b[:at]} {
			size := int64(len(in))
			r, err := NewReader(bytes.NewReader(in), size)
			var f Frame
			for err == nil {
				err = r.Next(size, &f)
			}
			if errors.Is(err, io.EOF) {
				require.Less(t, len(in), len(b), "flipped byte %d was not noticed", at)
			} else {
				require.LessOrEqual(t, r0(r), int64(at))
			}
		}
	}
}

func r0(r *Reader) int64 {
	if r == nil {
		return 0
	}
	return r.Offset()
}
