package segment

import (
	"bytes"
	"hash/crc32"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzHeader(f *testing.F) {
	b := encodeTest(f)
	f.Add(b[:HeaderSize])
	f.Add(b[:10])
	f.Fuzz(func(t *testing.T, in []byte) {
		h, err := ParseHeader(in)
		if err != nil {
			return
		}
		again, err := ParseHeader(h.Append(nil))
		if err != nil || again.FirstSequence != h.FirstSequence || again.LogID != h.LogID {
			t.Fatalf("%+v became %+v: %v", h, again, err)
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Add(encodeTest(f))
	f.Fuzz(func(t *testing.T, in []byte) {
		size := int64(len(in))
		r, err := NewReader(bytes.NewReader(in), size)
		var frame Frame
		for err == nil {
			before := r.Offset()
			if err = r.Next(size, &frame); err == nil && r.Offset() < before+FrameHeaderSize {
				t.Fatal("no progress")
			}
		}
	})
}

// The payload fuzzers give the decoder raw payloads under a header with a right
// checksum: what a hostile peer can send, and chance does not.

func FuzzKeyframe(f *testing.F) {
	h, keys, _ := testSegment()
	for _, k := range keys {
		e := NewEncoder()
		e.StartSegment(nil, h)
		if k != keys[0] {
			k.Sequence = 41
		}
		if _, err := e.AppendKeyframe(nil, k, 0, 0); err != nil {
			f.Fatal(err)
		}
		f.Add(append([]byte(nil), e.raw...), uint32(k.Series.Len()), uint32(len(k.Metadata)), k.Last, len(k.Elections) > 0, !k.Placement.None())
	}
	f.Fuzz(func(t *testing.T, raw []byte, series, metadata uint32, last, elections, placement bool) {
		d := NewDecoder()
		if _, err := d.StartSegment(h.Append(nil)); err != nil {
			t.Fatal(err)
		}
		fh := FrameHeader{Kind: KindKeyframe, Sequence: 41, Series: series, Metadata: metadata, Prev: d.Checksum()}
		if last {
			fh.Flags = FlagLast
		}
		if elections {
			fh.Flags |= FlagElections
		}
		if placement {
			fh.Flags |= FlagPlacement
		}
		seal(&fh, raw)
		var k Keyframe
		if d.Keyframe(&fh, raw, &k) != nil {
			return
		}
		e := NewEncoder()
		e.StartSegment(nil, h)
		out, err := e.AppendKeyframe(nil, &k, 0, 0)
		if err != nil {
			t.Fatalf("decoded but not encoded: %v", err)
		}
		d2 := NewDecoder()
		_, _ = d2.StartSegment(h.Append(nil))
		fh2, err := ParseFrameHeader(out)
		if err != nil {
			t.Fatal(err)
		}
		var again Keyframe
		if err := d2.Keyframe(&fh2, out[FrameHeaderSize:], &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(k, again, bitwise, emptyIsNil); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzBlock(f *testing.F) {
	h, keys, blocks := testSegment()
	prepare := func(t testing.TB) (*Encoder, *Decoder) {
		e, d := NewEncoder(), NewDecoder()
		if _, err := d.StartSegment(e.StartSegment(nil, h)); err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			b, err := e.AppendKeyframe(nil, k, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			fh, err := ParseFrameHeader(b)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Keyframe(&fh, b[FrameHeaderSize:], new(Keyframe)); err != nil {
				t.Fatal(err)
			}
		}
		return e, d
	}
	for _, b := range blocks {
		e, _ := prepare(f)
		b.Sequence = 42
		if _, err := e.AppendBlock(nil, b, 0); err != nil {
			f.Fatal(err)
		}
		f.Add(append([]byte(nil), e.raw...), uint32(b.Samples.Len()), uint32(b.Series.Len()),
			uint32(len(b.Histograms)), uint32(len(b.Exemplars)), uint32(len(b.Metadata)), uint32(len(b.Verdict.Errors)), len(b.Elections) > 0, !b.Placement.None())
	}
	f.Fuzz(func(t *testing.T, raw []byte, samples, series, histograms, exemplars, metadata, errs uint32, elections, placement bool) {
		e, d := prepare(t)
		fh := FrameHeader{Kind: KindBlock, Sequence: 42, Samples: samples, Series: series, Histograms: histograms,
			Exemplars: exemplars, Metadata: metadata, Errors: errs, Prev: d.Checksum()}
		if elections {
			fh.Flags = FlagElections
		}
		if placement {
			fh.Flags |= FlagPlacement
		}
		seal(&fh, raw)
		var b, again Block
		if d.Block(&fh, raw, &b) != nil {
			return
		}
		out, err := e.AppendBlock(nil, &b, 0)
		if err != nil {
			t.Fatalf("decoded but not encoded: %v", err)
		}
		_, d = prepare(t)
		fh, err = ParseFrameHeader(out)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Block(&fh, out[FrameHeaderSize:], &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, again, bitwise, emptyIsNil); diff != "" {
			t.Fatal(diff)
		}
	})
}

func seal(h *FrameHeader, raw []byte) {
	h.PayloadLen, h.RawLen = uint32(len(raw)), uint32(len(raw))
	h.PayloadCRC = crc32.Checksum(raw, castagnoli)
	h.Checksum = 1
}

func FuzzValues(f *testing.F) {
	for _, a := range odd {
		f.Add(math.Float64bits(a), uint64(staleNaN), math.Float64bits(-a))
	}
	f.Fuzz(func(t *testing.T, a, b, x uint64) {
		want := []float64{math.Float64frombits(a), math.Float64frombits(b), math.Float64frombits(x)}
		var c valueColumns
		c.reset(5)
		c.append(0, want[:1], []uint64{0})
		c.append(1, want[1:], []uint64{a, b})
		c.append(3, want[1:], []uint64{b, x})
		got := make([]float64, 5)
		if !c.next(0, []uint64{0}, got) || !c.next(1, []uint64{a, b}, got[1:]) || !c.next(3, []uint64{b, x}, got[3:]) || !c.done() {
			t.Fatal("what was written cannot be read")
		}
		for i, v := range []uint64{a, b, x, b, x} {
			if math.Float64bits(got[i]) != v {
				t.Fatalf("value %d is %x, want %x", i, math.Float64bits(got[i]), v)
			}
		}
	})
}
