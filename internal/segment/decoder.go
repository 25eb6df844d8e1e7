package segment

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/promgrpc/exporter/internal/invariant"
)

// Decoder decodes the frames of a segment, in order from the first. After an error
// it must not be used before its next StartSegment.
type Decoder struct {
	state
	zstd   *zstd.Decoder
	raw    []byte
	latest []float64 // values of a keyframe
}

// NewDecoder returns a decoder that waits for StartSegment.
func NewDecoder() *Decoder {
	// The options are constant and valid, so there is no error.
	z, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxPayload), zstd.WithDecodeAllCapLimit(true))
	return &Decoder{zstd: z}
}

// StartSegment reads the file header of a segment, and forgets the one before.
func (d *Decoder) StartSegment(b []byte) (Header, error) {
	h, err := ParseHeader(b)
	if err == nil {
		d.startSegment(&h)
	}
	return h, err
}

// Sequence of the last block.
func (d *Decoder) Sequence() uint64 { return d.seq }

// Checksum of the last frame, or of the file header.
func (d *Decoder) Checksum() uint32 { return d.prev }

// zstdBytes is about what decompression needs in memory besides its result.
const zstdBytes = 256 << 10

// bytes is about what the decoder holds in memory.
func (d *Decoder) bytes() int64 {
	return zstdBytes + int64(cap(d.raw)) + 8*int64(cap(d.refs)+cap(d.bits)+cap(d.latest))
}

// Keyed reports whether the last chunk of the keyframe has been read.
func (d *Decoder) Keyed() bool { return d.keyed }

// Encoder returns an encoder that goes on where the decoder is. It has the decoder's
// state, so the decoder must not be used before its next StartSegment.
func (d *Decoder) Encoder() *Encoder {
	e := NewEncoder()
	e.state = d.state
	d.state = state{}
	e.index.reset()
	for o, ref := range e.refs {
		e.index.set(ref, o)
	}
	if invariant.On {
		e.startCheck()
	}
	return e
}

// Footer reads the footer, which has no payload.
func (d *Decoder) Footer(h *FrameHeader) error {
	if h.Kind != KindFooter {
		return fmt.Errorf("%w: %s, want a footer", ErrCorrupt, h.Kind)
	}
	if err := d.checkNext(h); err != nil {
		return err
	}
	d.advance(h)
	return nil
}

// sections verifies that a frame comes next, and cuts its payload into sections,
// which are valid until the next call.
func (d *Decoder) sections(kind Kind, h *FrameHeader, payload []byte, sections [][]byte) error {
	if h.Kind != kind {
		return fmt.Errorf("%w: frame is a %s", ErrCorrupt, h.Kind)
	}
	if err := h.check(); err != nil {
		return err
	}
	if err := d.checkNext(h); err != nil {
		return err
	}
	return d.unpack(h, payload, sections)
}

func (d *Decoder) unpack(h *FrameHeader, payload []byte, sections [][]byte) error {
	if err := h.VerifyPayload(payload); err != nil {
		return err
	}
	if h.Flags&FlagZstd != 0 {
		if cap(d.raw) < int(h.RawLen) || cap(d.raw) > 4*readAhead && h.RawLen <= readAhead {
			d.raw = make([]byte, h.RawLen, int(h.RawLen)+int(h.RawLen)/4)
		}
		raw, err := d.zstd.DecodeAll(payload, d.raw[:0:h.RawLen])
		if err != nil || len(raw) != int(h.RawLen) {
			return fmt.Errorf("payload: %w: %d bytes, want %d: %w", ErrCorrupt, len(raw), h.RawLen, errOr(err))
		}
		payload = raw
	}
	return splitSections(payload, sections, h.Flags)
}

func errOr(err error) error {
	if err == nil {
		return ErrShort
	}
	return err
}

// readSeries reads new series from their two sections into t, whose memory is
// reused, and introduces them.
func (d *Decoder) readSeries(h *FrameHeader, sections [][]byte, t *SeriesTable) error {
	t.Reset()
	labels, series := sections[0], sections[1]
	if h.Series == 0 {
		if len(labels)+len(series) > 0 {
			return fmt.Errorf("series: %w: none expected", ErrCorrupt)
		}
		return nil
	}
	if 2*uint64(h.Series) > uint64(len(series)) {
		return fmt.Errorf("series: %w: count", ErrCorrupt)
	}
	var err error
	if t.Labels, err = readLabels(labels, t.Labels); err != nil {
		return err
	}
	if err := readSeries(series, int(h.Series), d.next, t); err != nil {
		return err
	}
	for _, ref := range t.Refs {
		d.introduce(ref)
	}
	return nil
}

// Block decodes a block into b, whose slices are reused if they are large enough;
// pass an empty block for one that may be kept. Label strings, and the bytes of
// histograms and exemplars, are new in any case, share memory among the block, and may
// be kept.
func (d *Decoder) Block(h *FrameHeader, payload []byte, b *Block) error {
	if err := d.block(h, payload, b); err != nil {
		return fmt.Errorf("block %d: %w", h.Sequence, err)
	}
	d.advance(h)
	return nil
}

func (d *Decoder) block(h *FrameHeader, payload []byte, b *Block) error {
	var sections [blockSections][]byte
	if err := d.sections(KindBlock, h, payload, sections[:]); err != nil {
		return err
	}
	b.Sequence, b.Time, b.Digest = h.Sequence, h.Time, h.Digest
	verdictErrors, err := readErrors(sections[blockErrors], h.Errors)
	if err != nil {
		return err
	}
	b.Verdict = h.Verdict
	b.Verdict.Errors = verdictErrors
	if err := d.readSeries(h, sections[blockLabels:], &b.Series); err != nil {
		return err
	}
	if err := d.samples(h, &sections, &b.Samples); err != nil {
		return err
	}
	if err := d.histograms(h, &sections, b); err != nil {
		return err
	}
	if err := d.exemplars(h, &sections, b); err != nil {
		return err
	}
	if b.Metadata, err = readMetadata(sections[blockMetadata], h.Metadata, b.Metadata); err != nil {
		return err
	}
	if b.Elections, err = readElections(sections[blockElections], h, b.Elections); err != nil {
		return err
	}
	b.Placement, err = readPlacement(sections[blockPlacement], h)
	return err
}

func readErrors(section []byte, n uint32) ([]string, error) {
	if uint64(n) > uint64(len(section)) {
		return nil, fmt.Errorf("errors: %w: count", ErrCorrupt)
	}
	r := sectionReader{b: section}
	var out []string
	for range n {
		out = append(out, r.string())
	}
	return out, r.end("errors")
}

func valuesOf(s [][]byte) valueColumns {
	return valueColumns{tags: s[0], ints: s[1], exponents: s[2], decimals: s[3], shapes: s[4], xors: s[5]}
}

// ref reads an ordinal, stored as the difference to the previous one, and returns
// the reference of its series.
func (d *Decoder) ref(r *sectionReader, ordinal *int64) uint64 {
	*ordinal += r.varint()
	if uint64(*ordinal) >= uint64(len(d.refs)) {
		r.bad = true
		return 0
	}
	return d.refs[*ordinal]
}

func (d *Decoder) histograms(h *FrameHeader, sections *[blockSections][]byte, b *Block) error {
	r := sectionReader{b: sections[blockHistograms]}
	if 4*uint64(h.Histograms) > uint64(len(r.b)) {
		return fmt.Errorf("histograms: %w: count", ErrCorrupt)
	}
	b.Histograms = resize(b.Histograms, int(h.Histograms))
	data := append([]byte(nil), sections[blockHistogramData]...)
	var ordinal, timestamp int64
	after, left := 0, uint64(h.Samples)
	for i := range b.Histograms {
		between := r.uvarint()
		ref := d.ref(&r, &ordinal)
		timestamp += r.varint()
		size := r.uvarint()
		if r.bad || between > left || size > uint64(len(data)) {
			return fmt.Errorf("histograms: %w", ErrCorrupt)
		}
		after, left = after+int(between), left-between
		b.Histograms[i] = Histogram{Ref: ref, Timestamp: timestamp, After: after, Data: data[:size:size]}
		data = data[size:]
	}
	r.bad = r.bad || len(data) != 0
	return r.end("histograms")
}

func (d *Decoder) exemplars(h *FrameHeader, sections *[blockSections][]byte, b *Block) error {
	r := sectionReader{b: sections[blockExemplars]}
	if 2*uint64(h.Exemplars) > uint64(len(r.b)) {
		return fmt.Errorf("exemplars: %w: count", ErrCorrupt)
	}
	b.Exemplars = resize(b.Exemplars, int(h.Exemplars))
	data := append([]byte(nil), sections[blockExemplarData]...)
	var ordinal int64
	for i := range b.Exemplars {
		ref := d.ref(&r, &ordinal)
		size := r.uvarint()
		if r.bad || size > uint64(len(data)) {
			return fmt.Errorf("exemplars: %w", ErrCorrupt)
		}
		b.Exemplars[i] = Exemplar{Ref: ref, Data: data[:size:size]}
		data = data[size:]
	}
	r.bad = r.bad || len(data) != 0
	return r.end("exemplars")
}

// Errors returns the errors of a block's verdict. It works without the frames before,
// and leaves the decoder's state as it is.
func (d *Decoder) Errors(h *FrameHeader, payload []byte) ([]string, error) {
	var sections [blockSections][]byte
	if h.Kind != KindBlock {
		return nil, fmt.Errorf("%w: %s, want a block", ErrCorrupt, h.Kind)
	}
	if err := d.unpack(h, payload, sections[:]); err != nil {
		return nil, err
	}
	return readErrors(sections[blockErrors], h.Errors)
}
