package segment

import (
	"bytes"
	"math"
	"slices"

	"github.com/promgrpc/exporter/internal/invariant"
)

// With invariants an encoder decodes each frame that it made, with a decoder that has
// followed it, and compares the result with what it was given.

// checkFrame splits a frame that was just made.
func checkFrame(frame []byte) (FrameHeader, []byte) {
	h, err := ParseFrameHeader(frame)
	invariant.Check(err == nil, "header of an encoded frame: %v", err)
	return h, frame[FrameHeaderSize:]
}

func (e *Encoder) checkBlock(frame []byte, b *Block) {
	var got Block
	h, payload := checkFrame(frame)
	err := e.check.Block(&h, payload, &got)
	invariant.Check(err == nil, "decode an encoded block: %v", err)
	n := b.Sequence
	invariant.Check(got.Sequence == n && got.Time == b.Time && got.Digest == b.Digest, "header of block %d: %+v", n, h)
	invariant.Check(equalVerdicts(&got.Verdict, &b.Verdict), "verdict of block %d: %+v, was %+v", n, got.Verdict, b.Verdict)
	checkSeries(&got.Series, &b.Series, n)
	invariant.Check(slices.EqualFunc(slices.Collect(got.Samples.All()), slices.Collect(b.Samples.All()), equalSamples), "samples of block %d", n)
	invariant.Check(slices.EqualFunc(got.Histograms, b.Histograms, func(x, y Histogram) bool {
		return x.Ref == y.Ref && x.Timestamp == y.Timestamp && x.After == y.After && bytes.Equal(x.Data, y.Data)
	}), "histograms of block %d", n)
	invariant.Check(slices.EqualFunc(got.Exemplars, b.Exemplars, func(x, y Exemplar) bool {
		return x.Ref == y.Ref && bytes.Equal(x.Data, y.Data)
	}), "exemplars of block %d", n)
	invariant.Check(slices.Equal(got.Metadata, b.Metadata), "metadata of block %d", n)
	invariant.Check(slices.Equal(got.Elections, b.Elections), "elections of block %d", n)
	invariant.Check(got.Placement == b.Placement, "placement of block %d", n)
}

func (e *Encoder) checkKeyframe(frame []byte, k *Keyframe) {
	var got Keyframe
	h, payload := checkFrame(frame)
	err := e.check.Keyframe(&h, payload, &got)
	invariant.Check(err == nil, "decode an encoded keyframe: %v", err)
	n := k.Sequence
	invariant.Check(got.Sequence == n && got.NextRef == k.NextRef && got.Last == k.Last, "header of keyframe %d: %+v", n, h)
	checkSeries(&got.Series, &k.Series, n)
	invariant.Check(slices.EqualFunc(got.Latest, k.Latest, equalLatest), "latest samples of keyframe %d", n)
	invariant.Check(slices.Equal(got.Metadata, k.Metadata), "metadata of keyframe %d", n)
	invariant.Check(slices.Equal(got.Elections, k.Elections), "elections of keyframe %d", n)
	invariant.Check(got.Placement == k.Placement, "placement of keyframe %d", n)
}

// checkSeries compares new series, whose references ascend.
func checkSeries(got, want *SeriesTable, sequence uint64) {
	invariant.Check(slices.Equal(got.Refs, want.Refs), "new series of %d: %v, were %v", sequence, got.Refs, want.Refs)
	for i, ref := range want.Refs {
		invariant.Check(i == 0 || want.Refs[i-1] < ref, "series %d after %v", ref, want.Refs[:i])
		invariant.Check(slices.Equal(got.AppendLabels(nil, i), want.AppendLabels(nil, i)), "labels of series %d", ref)
	}
}

func equalVerdicts(a, b *Verdict) bool {
	return a.Samples == b.Samples && a.Histograms == b.Histograms && a.Exemplars == b.Exemplars &&
		a.Rejected == b.Rejected && a.Code == b.Code && a.Limits == b.Limits && slices.Equal(a.Errors, b.Errors)
}

func equalSamples(a, b Sample) bool {
	return a.Ref == b.Ref && a.Timestamp == b.Timestamp && a.StartTimestamp == b.StartTimestamp &&
		math.Float64bits(a.Value) == math.Float64bits(b.Value)
}

func equalLatest(a, b Latest) bool {
	switch {
	case a.Timestamp != b.Timestamp || a.StartTimestamp != b.StartTimestamp || a.Written != b.Written || a.None != b.None:
		return false
	case a.None:
		return true
	case a.Histogram != nil || b.Histogram != nil:
		return a.Histogram != nil && b.Histogram != nil && bytes.Equal(a.Histogram, b.Histogram)
	}
	return math.Float64bits(a.Value) == math.Float64bits(b.Value)
}

// startCheck makes the decoder that follows the encoder in its state.
func (e *Encoder) startCheck() {
	e.check = NewDecoder()
	e.check.state = e.state
	e.check.refs, e.check.bits = slices.Clone(e.refs), slices.Clone(e.bits)
}
