package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// Encoder makes the frames of one segment after another. Begin comes first,
// then the keyframe, blocks, and perhaps the footer; each call appends one
// frame to dst. After an error nothing was appended and the encoder is as it
// was before the call.
type Encoder struct {
	state
	index    refIndex
	zstd     *zstd.Encoder
	raw      []byte
	columns  [max(blockSections, keySections)][]byte
	values   valueColumns
	series   seriesWriter
	ordinals []uint32 // of the samples
	undo     []uint64 // the values that the samples replaced
}

// NewEncoder returns an encoder that waits for Begin.
func NewEncoder() *Encoder { return &Encoder{zstd: newZstdEncoder()} }

func newZstdEncoder() *zstd.Encoder {
	// The options are constant and valid, so there is no error.
	z, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	return z
}

// Begin appends the header of a new segment and forgets the one before.
func (e *Encoder) Begin(dst []byte, h Header) []byte {
	dst = h.Append(dst)
	e.begin(&h)
	e.index.reset()
	return dst
}

// Checksum of the last frame, or of the file header.
func (e *Encoder) Checksum() uint32 { return e.prev }

// Sequence of the last block.
func (e *Encoder) Sequence() uint64 { return e.seq }

// AppendBlock appends a block. Its sequence must follow the one before; synced
// is the offset in the file up to which it is known to be on the disk. A series
// reference that the segment does not know is an *UnknownRefError; a block over
// the limits of a frame is ErrTooLarge.
func (e *Encoder) AppendBlock(dst []byte, b *Block, synced uint64) ([]byte, error) {
	h := FrameHeader{
		Kind: KindBlock, Sequence: b.Sequence, Time: b.Time, Digest: b.Digest,
		Samples: count(b.Samples.Refs), Histograms: count(b.Histograms),
		Exemplars: count(b.Exemplars), Series: count(b.Series), Metadata: count(b.Metadata),
		Verdict: b.Verdict, Errors: count(b.Verdict.Errors),
		MinTime: noMinTime, MaxTime: noMaxTime, Synced: synced, Prev: e.prev,
	}
	if err := h.check(); err != nil {
		return dst, err
	}
	if err := e.expect(&h); err != nil {
		return dst, err
	}
	known := len(e.refs)
	next := e.next
	takeBack := func(samples int) {
		for i := samples - 1; i >= 0; i-- {
			e.bits[e.ordinals[i]] = e.undo[i]
		}
		for _, ref := range e.refs[known:] {
			e.index.remove(ref)
		}
		e.refs, e.bits, e.next = e.refs[:known], e.bits[:known], next
	}
	e.reset()
	if err := e.blockSeries(b.Series); err != nil {
		takeBack(0)
		return dst, err
	}
	if err := e.blockOrdinals(&b.Samples); err != nil {
		takeBack(0)
		return dst, err
	}
	if err := e.blockOpaque(b, &h); err != nil {
		takeBack(0)
		return dst, err
	}
	e.blockSamples(&b.Samples, &h)
	for _, s := range b.Verdict.Errors {
		e.columns[blockErrors] = appendString(e.columns[blockErrors], s)
	}
	e.columns[blockMetadata] = appendMetadata(e.columns[blockMetadata], b.Metadata)
	out, err := e.frame(dst, &h, e.columns[:blockSections])
	if err != nil {
		takeBack(len(e.ordinals))
		return dst, err
	}
	e.note(&h)
	return out, nil
}

// AppendFooter appends the footer; nothing can follow it but Begin.
func (e *Encoder) AppendFooter(dst []byte, timeMS int64, synced uint64) ([]byte, error) {
	h := e.footer()
	h.Time, h.Synced = timeMS, synced
	if err := e.expect(&h); err != nil {
		return dst, err
	}
	dst = h.append(dst)
	e.note(&h)
	return dst, nil
}

func (e *Encoder) reset() {
	for i := range e.columns {
		e.columns[i] = e.columns[i][:0]
	}
	e.values.reset()
	e.series.reset()
}

// blockSeries introduces the new series.
func (e *Encoder) blockSeries(series []Series) error {
	if len(series) == 0 {
		return nil
	}
	var before Labels
	for i := range series {
		s := &series[i]
		if s.Ref < e.next || s.Ref > maxSequence {
			return fmt.Errorf("new series %d: %w: want a reference of at least %d", s.Ref, ErrCorrupt, e.next)
		}
		e.series.add(s.Ref-e.next, s.Labels, before)
		before = s.Labels
		e.index.set(s.Ref, len(e.refs))
		e.introduce(s.Ref, 0)
	}
	if e.series.labels > MaxLabels {
		return fmt.Errorf("%d labels: %w", e.series.labels, ErrTooLarge)
	}
	e.columns[blockSymbols], e.columns[blockSeries] = e.series.sections()
	return nil
}

// blockOrdinals looks up the series of the samples.
func (e *Encoder) blockOrdinals(s *Samples) error {
	if len(s.Timestamps) != len(s.Refs) || len(s.Values) != len(s.Refs) ||
		s.StartTimestamps != nil && len(s.StartTimestamps) != len(s.Refs) {
		return fmt.Errorf("%w: sample columns of unequal length", ErrCorrupt)
	}
	e.ordinals = resize(e.ordinals, len(s.Refs))
	for i, ref := range s.Refs {
		o, ok := e.index.get(ref)
		if !ok {
			return &UnknownRefError{Ref: ref}
		}
		e.ordinals[i] = uint32(o)
	}
	return nil
}

// blockSamples fills the columns of the samples: ordinals as differences to the
// one before, timestamps and start timestamps likewise (start timestamps only
// if there are any), and the values.
func (e *Encoder) blockSamples(s *Samples, h *FrameHeader) {
	e.undo = resize(e.undo, len(s.Refs))
	refs, times := e.columns[blockRefs], e.columns[blockTimestamps]
	var lastOrdinal, lastTime int64
	for i, o := range e.ordinals {
		refs = binary.AppendVarint(refs, int64(o)-lastOrdinal)
		lastOrdinal = int64(o)
		t := s.Timestamps[i]
		times = binary.AppendVarint(times, t-lastTime)
		lastTime = t
		h.MinTime, h.MaxTime = min(h.MinTime, t), max(h.MaxTime, t)
		v := math.Float64bits(s.Values[i])
		e.undo[i] = e.bits[o]
		e.values.append(i, v, e.bits[o])
		e.bits[o] = v
	}
	e.columns[blockRefs], e.columns[blockTimestamps] = refs, times
	if slices.ContainsFunc(s.StartTimestamps, func(t int64) bool { return t != 0 }) {
		var last int64
		for _, t := range s.StartTimestamps {
			e.columns[blockStarts] = binary.AppendVarint(e.columns[blockStarts], t-last)
			last = t
		}
	}
	e.values.copyTo(e.columns[blockTags : blockXORs+1])
}

// copyTo hands the columns over as sections.
func (c *valueColumns) copyTo(sections [][]byte) {
	for i, b := range [...][]byte{c.tags, c.ints, c.exponents, c.decimals, c.shapes, c.xors} {
		sections[i] = append(sections[i], b...)
	}
}

// blockOpaque fills the sections of histograms (ordinal and timestamp as
// differences to the one before, length) and exemplars (ordinal, length), whose
// bytes follow in sections of their own.
func (e *Encoder) blockOpaque(b *Block, h *FrameHeader) error {
	heads, data := e.columns[blockHistograms], e.columns[blockHistogramData]
	var lastOrdinal, lastTime int64
	for i := range b.Histograms {
		x := &b.Histograms[i]
		o, ok := e.index.get(x.Ref)
		if !ok {
			return &UnknownRefError{Ref: x.Ref}
		}
		heads = binary.AppendVarint(heads, int64(o)-lastOrdinal)
		heads = binary.AppendVarint(heads, x.Timestamp-lastTime)
		heads = binary.AppendUvarint(heads, uint64(len(x.Data)))
		data = append(data, x.Data...)
		lastOrdinal, lastTime = int64(o), x.Timestamp
		h.MinTime, h.MaxTime = min(h.MinTime, x.Timestamp), max(h.MaxTime, x.Timestamp)
	}
	e.columns[blockHistograms], e.columns[blockHistogramData] = heads, data
	heads, data, lastOrdinal = e.columns[blockExemplars], e.columns[blockExemplarData], 0
	for i := range b.Exemplars {
		x := &b.Exemplars[i]
		o, ok := e.index.get(x.Ref)
		if !ok {
			return &UnknownRefError{Ref: x.Ref}
		}
		heads = binary.AppendVarint(heads, int64(o)-lastOrdinal)
		heads = binary.AppendUvarint(heads, uint64(len(x.Data)))
		data = append(data, x.Data...)
		lastOrdinal = int64(o)
	}
	e.columns[blockExemplars], e.columns[blockExemplarData] = heads, data
	return nil
}

// frame puts the sections together, compresses them, and appends the frame.
func (e *Encoder) frame(dst []byte, h *FrameHeader, sections [][]byte) ([]byte, error) {
	e.raw = e.raw[:0]
	for _, s := range sections {
		e.raw = append(binary.AppendUvarint(e.raw, uint64(len(s))), s...)
	}
	if len(e.raw) > MaxPayload {
		return dst, fmt.Errorf("%s of %d bytes: %w", h.Kind, len(e.raw), ErrTooLarge)
	}
	start := len(dst)
	dst = append(dst, make([]byte, FrameHeaderSize)...)
	dst = e.zstd.EncodeAll(e.raw, dst)
	payload := dst[start+FrameHeaderSize:]
	h.Flags |= FlagZstd
	if len(payload) >= len(e.raw) {
		dst = append(dst[:start+FrameHeaderSize], e.raw...)
		payload = dst[start+FrameHeaderSize:]
		h.Flags &^= FlagZstd
	}
	h.RawLen, h.PayloadLen = uint32(len(e.raw)), uint32(len(payload))
	h.PayloadCRC = crc32.Checksum(payload, castagnoli)
	h.append(dst[start:start])
	return dst, nil
}

// count as a header holds it; what does not fit is over every limit.
func count[T any](s []T) uint32 { return uint32(min(len(s), math.MaxUint32)) }
