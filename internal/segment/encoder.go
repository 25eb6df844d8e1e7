package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/klauspost/compress/zstd"

	"github.com/promgrpc/exporter/internal/invariant"
)

// Encoder makes the frames of a segment. StartSegment comes first, then the keyframe,
// blocks, and perhaps the footer; each call appends one frame to dst. After an error
// nothing was appended and the encoder is as it was before the call.
type Encoder struct {
	state
	index   refIndex
	zstd    *zstd.Encoder
	raw     []byte
	columns [max(blockSections, keySections)][]byte
	values  valueColumns
	latest  []float64 // values of a keyframe
	runs    []run     // of the samples
	undo    []uint64  // the values that the samples replaced
	check   *Decoder  // follows the encoder, with invariants
}

// NewEncoder returns an encoder that waits for StartSegment.
func NewEncoder() *Encoder { return &Encoder{zstd: newZstdEncoder()} }

func newZstdEncoder() *zstd.Encoder {
	// The options are constant and valid, so there is no error.
	z, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	return z
}

// StartSegment appends the header of a new segment, and forgets the one before.
func (e *Encoder) StartSegment(dst []byte, h Header) []byte {
	dst = h.Append(dst)
	e.startSegment(&h)
	e.index.reset()
	if invariant.On {
		e.startCheck()
	}
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
		Samples: count(b.Samples.Values), Histograms: count(b.Histograms),
		Exemplars: count(b.Exemplars), Series: count(b.Series.Refs), Metadata: count(b.Metadata),
		Verdict: b.Verdict, Errors: count(b.Verdict.Errors),
		MinTime: noMinTime, MaxTime: noMaxTime, Synced: synced, Prev: e.prev,
	}
	h.setOptional(b.Elections, b.Placement)
	if err := h.check(); err != nil {
		return dst, err
	}
	if err := e.checkNext(&h); err != nil {
		return dst, err
	}
	known, next := len(e.refs), e.next
	e.reset()
	out, err := e.block(dst, b, &h)
	if err != nil {
		e.rollBack(known, next)
		return dst, err
	}
	e.advance(&h)
	if invariant.On {
		e.checkBlock(out[len(dst):], b)
	}
	return out, nil
}

func (e *Encoder) block(dst []byte, b *Block, h *FrameHeader) ([]byte, error) {
	if err := e.newSeries(&b.Series, e.columns[blockLabels:]); err != nil {
		return dst, err
	}
	if err := e.blockRuns(&b.Samples); err != nil {
		return dst, err
	}
	if err := e.blockOpaque(b, h); err != nil {
		return dst, err
	}
	e.blockSamples(&b.Samples, h)
	for _, s := range b.Verdict.Errors {
		e.columns[blockErrors] = appendString(e.columns[blockErrors], s)
	}
	e.columns[blockMetadata] = appendMetadata(e.columns[blockMetadata], b.Metadata)
	var err error
	if e.columns[blockElections], err = appendElections(e.columns[blockElections], b.Elections); err != nil {
		return dst, err
	}
	if e.columns[blockPlacement], err = appendPlacement(e.columns[blockPlacement], b.Placement); err != nil {
		return dst, err
	}
	return e.frame(dst, h, e.columns[:blockSections])
}

// AppendFooter appends the footer; nothing can follow it but StartSegment.
func (e *Encoder) AppendFooter(dst []byte, timeMS int64, synced uint64) ([]byte, error) {
	h := e.footer()
	h.Time, h.Synced = timeMS, synced
	if err := e.checkNext(&h); err != nil {
		return dst, err
	}
	dst = h.append(dst)
	e.advance(&h)
	return dst, nil
}

func (e *Encoder) reset() {
	for i := range e.columns {
		e.columns[i] = e.columns[i][:0]
	}
	e.undo = e.undo[:0]
}

// rollBack undoes what the frame at hand did to the state, which had known series.
func (e *Encoder) rollBack(known int, next uint64) {
	if len(e.undo) > 0 {
		e.restoreValues()
	}
	for _, ref := range e.refs[known:] {
		e.index.remove(ref)
	}
	e.refs, e.bits, e.next = e.refs[:known], e.bits[:known], next
}

// newSeries introduces new series, and fills their sections: labels, then series.
func (e *Encoder) newSeries(t *SeriesTable, sections [][]byte) error {
	if t.Len() == 0 {
		return nil
	}
	if len(t.Labels) > MaxLabels || len(t.Indexes) > MaxLabels {
		return fmt.Errorf("%d labels, and %d of all series together: %w", len(t.Labels), len(t.Indexes), ErrTooLarge)
	}
	next := e.next
	for _, ref := range t.Refs {
		if ref < e.next || ref > maxSequence {
			return fmt.Errorf("new series %d: %w: want a reference of at least %d", ref, ErrCorrupt, e.next)
		}
		e.index.set(ref, len(e.refs))
		e.introduce(ref)
	}
	var err error
	sections[0] = appendLabels(sections[0], t.Labels)
	sections[1], err = appendSeries(sections[1], t, next)
	return err
}

// copyTo appends the columns to their sections.
func (c *valueColumns) copyTo(sections [][]byte) {
	for i, b := range [...][]byte{c.tags, c.ints, c.exponents, c.decimals, c.shapes, c.xors} {
		sections[i] = append(sections[i], b...)
	}
}

// blockOpaque fills the sections of histograms and exemplars. Of a histogram: how many
// samples came between it and the previous one, ordinal and timestamp as differences to
// the previous one, length. Of an exemplar: ordinal and length. Their bytes are in
// sections of their own.
func (e *Encoder) blockOpaque(b *Block, h *FrameHeader) error {
	heads, data := e.columns[blockHistograms], e.columns[blockHistogramData]
	var lastOrdinal, lastTime int64
	after := 0
	for i := range b.Histograms {
		x := &b.Histograms[i]
		if x.After < after || x.After > len(b.Samples.Values) {
			return fmt.Errorf("histogram after %d of %d samples, and the previous one after %d: %w", x.After, len(b.Samples.Values), after, ErrCorrupt)
		}
		o, ok := e.index.get(e.refs, x.Ref)
		if !ok {
			return &UnknownRefError{Ref: x.Ref}
		}
		heads = binary.AppendUvarint(heads, uint64(x.After-after))
		heads = binary.AppendVarint(heads, int64(o)-lastOrdinal)
		heads = binary.AppendVarint(heads, x.Timestamp-lastTime)
		heads = binary.AppendUvarint(heads, uint64(len(x.Data)))
		data = append(data, x.Data...)
		after, lastOrdinal, lastTime = x.After, int64(o), x.Timestamp
		h.MinTime, h.MaxTime = min(h.MinTime, x.Timestamp), max(h.MaxTime, x.Timestamp)
	}
	e.columns[blockHistograms], e.columns[blockHistogramData] = heads, data
	heads, data, lastOrdinal = e.columns[blockExemplars], e.columns[blockExemplarData], 0
	for i := range b.Exemplars {
		x := &b.Exemplars[i]
		o, ok := e.index.get(e.refs, x.Ref)
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

// A payload of up to dense bytes, plus denseSample for each sample, is not compressed:
// that would take longer than everything else, and save a sixth.
const (
	dense       = 256
	denseSample = 3
)

// frame joins the sections that the flags say to a payload, compresses it where that pays, and appends
// the frame.
func (e *Encoder) frame(dst []byte, h *FrameHeader, sections [][]byte) ([]byte, error) {
	e.raw = e.raw[:0]
	for i, s := range sections {
		if present(i, len(sections), h.Flags) {
			e.raw = append(binary.AppendUvarint(e.raw, uint64(len(s))), s...)
		}
	}
	if len(e.raw) > MaxPayload {
		return dst, fmt.Errorf("%s of %d bytes: %w", h.Kind, len(e.raw), ErrTooLarge)
	}
	start := len(dst)
	dst = append(dst, make([]byte, FrameHeaderSize)...)
	if len(e.raw) > dense+denseSample*int(h.Samples) {
		dst = e.zstd.EncodeAll(e.raw, dst)
		h.Flags |= FlagZstd
	}
	if h.Flags&FlagZstd == 0 || len(dst)-start-FrameHeaderSize >= len(e.raw) {
		dst = append(dst[:start+FrameHeaderSize], e.raw...)
		h.Flags &^= FlagZstd
	}
	payload := dst[start+FrameHeaderSize:]
	h.RawLen, h.PayloadLen = uint32(len(e.raw)), uint32(len(payload))
	h.PayloadCRC = crc32.Checksum(payload, castagnoli)
	h.append(dst[start:start])
	return dst, nil
}

// count is a length as a header holds it; what does not fit there is over every limit.
func count[T any](s []T) uint32 { return uint32(min(len(s), math.MaxUint32)) }
