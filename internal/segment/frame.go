package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// FrameHeaderSize is the length of the header of every frame. The header has its own
// checksum, so it can be read and trusted without the payload after it.
//
//	      0       1       2       3       4       5       6       7
//	  0 ┌───────────────────────────────┬───────┬───────┬───────┬───────┐
//	    │ magic "PGf1"                  │ kind  │ flags │ code  │ 0     │
//	  8 ├───────────────────────────────┼───────┴───────┴───────┴───────┤
//	    │ payload length                │ raw length                    │
//	 16 ├───────────────────────────────┴───────────────────────────────┤
//	    │ sequence                                                      │
//	 24 ├───────────────────────────────────────────────────────────────┤
//	    │ time, ms                                                      │
//	 32 ├───────────────────────────────────────────────────────────────┤
//	    │ lowest sample timestamp, ms                                   │
//	 40 ├───────────────────────────────────────────────────────────────┤
//	    │ highest sample timestamp, ms                                  │
//	 48 ├───────────────────────────────────────────────────────────────┤
//	    │ digest of the request                                         │
//	 56 │                                                               │
//	 64 ├───────────────────────────────┬───────────────────────────────┤
//	    │ samples                       │ histograms                    │
//	 72 ├───────────────────────────────┼───────────────────────────────┤
//	    │ exemplars                     │ series                        │
//	 80 ├───────────────────────────────┼───────────────────────────────┤
//	    │ metadata                      │ verdict: errors               │
//	 88 ├───────────────────────────────┼───────────────────────────────┤
//	    │ verdict: samples              │ verdict: histograms           │
//	 96 ├───────────────────────────────┼───────────────────────────────┤
//	    │ verdict: exemplars            │ verdict: rejected             │
//	104 ├───────────────────────────────┴───────────────────────────────┤
//	    │ offset that was on the disk when this frame was written       │
//	112 ├───────────────────────────────┬───────────────────────────────┤
//	    │ checksum of the frame before  │ CRC32C of the payload         │
//	120 ├───────────────────────────────┼───────────────────────────────┤
//	    │ verdict: limits               │ CRC32C of bytes 0..123        │
//	128 └───────────────────────────────┴───────────────────────────────┘
const FrameHeaderSize = 128

// Limits of one frame. The decoder checks them before it allocates.
const (
	MaxPayload  = 48 << 20 // bytes, raw and as stored
	MaxSamples  = 1 << 22
	MaxSeries   = 1 << 20
	MaxLabels   = 1 << 22 // of all series together
	MaxEntries  = 1 << 20 // histograms, exemplars, metadata, errors: each
	maxSequence = 1 << 62
)

// FrameMagic opens every frame header, so that a search through bytes finds frames.
const FrameMagic = "PGf1"

// Kind of a frame.
type Kind uint8

// The kinds of frames, in the order in which a segment holds them.
const (
	KindKeyframe Kind = 1
	KindBlock    Kind = 2
	KindFooter   Kind = 3
)

func (k Kind) String() string {
	switch k {
	case KindKeyframe:
		return "keyframe"
	case KindBlock:
		return "block"
	case KindFooter:
		return "footer"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Flags of a frame.
const (
	// FlagZstd: the payload is one zstd frame of raw length.
	FlagZstd = 1 << 0
	// FlagLast: the last chunk of the keyframe.
	FlagLast = 1 << 1
	// FlagElections: the payload has a section of elections.
	FlagElections = 1 << 2
	// FlagPlacement: the payload has a section of a placement.
	FlagPlacement = 1 << 3
)

// FrameHeader precedes every payload.
type FrameHeader struct {
	Kind       Kind
	Flags      uint8
	PayloadLen uint32
	RawLen     uint32
	// Sequence of a block; of the last block before a keyframe or footer.
	Sequence uint64
	// Time in ms at which the frame was made.
	Time int64
	// MinTime and MaxTime of the samples in ms; MinTime is above MaxTime when
	// there are none. In a footer: of the whole segment.
	MinTime, MaxTime int64
	Digest           [16]byte
	// Counts of what is in the frame. In a footer: in the segment's blocks, at
	// most 1<<32-1.
	Samples, Histograms, Exemplars, Series, Metadata uint32
	// Verdict without its errors, of which there are Errors in the payload.
	Verdict Verdict
	Errors  uint32
	// Synced is the offset in the file up to which the bytes were known to be
	// on the writer's disk when it wrote this frame.
	Synced uint64
	// Prev is the checksum of the frame before, or of the file header.
	Prev       uint32
	PayloadCRC uint32
	// Checksum of the header. As the header holds the payload's, it stands for
	// the whole frame and, by Prev, for all of the segment before it.
	Checksum uint32
}

// Len is the length of the frame with its header.
func (h *FrameHeader) Len() int64 { return FrameHeaderSize + int64(h.PayloadLen) }

// append writes the header and sets its checksum.
func (h *FrameHeader) append(dst []byte) []byte {
	var b [FrameHeaderSize]byte
	le := binary.LittleEndian
	copy(b[:], FrameMagic)
	b[4], b[5], b[6] = byte(h.Kind), h.Flags, h.Verdict.Code
	le.PutUint32(b[8:], h.PayloadLen)
	le.PutUint32(b[12:], h.RawLen)
	le.PutUint64(b[16:], h.Sequence)
	le.PutUint64(b[24:], uint64(h.Time))
	le.PutUint64(b[32:], uint64(h.MinTime))
	le.PutUint64(b[40:], uint64(h.MaxTime))
	copy(b[48:], h.Digest[:])
	for i, v := range [...]uint32{
		h.Samples, h.Histograms, h.Exemplars, h.Series, h.Metadata, h.Errors,
		h.Verdict.Samples, h.Verdict.Histograms, h.Verdict.Exemplars, h.Verdict.Rejected,
	} {
		le.PutUint32(b[64+4*i:], v)
	}
	le.PutUint64(b[104:], h.Synced)
	le.PutUint32(b[112:], h.Prev)
	le.PutUint32(b[116:], h.PayloadCRC)
	le.PutUint32(b[120:], h.Verdict.Limits)
	h.Checksum = crc32.Checksum(b[:124], castagnoli)
	le.PutUint32(b[124:], h.Checksum)
	return append(dst, b[:]...)
}

// ParseFrameHeader reads a frame header from the beginning of b.
func ParseFrameHeader(b []byte) (FrameHeader, error) {
	var h FrameHeader
	if len(b) < FrameHeaderSize {
		return h, fmt.Errorf("frame header: %w: %d bytes", ErrShort, len(b))
	}
	b = b[:FrameHeaderSize]
	le := binary.LittleEndian
	if string(b[:4]) != FrameMagic {
		return h, fmt.Errorf("frame header: %w: not a frame", ErrCorrupt)
	}
	h.Checksum = le.Uint32(b[124:])
	if crc32.Checksum(b[:124], castagnoli) != h.Checksum {
		return h, fmt.Errorf("frame header: %w: checksum", ErrCorrupt)
	}
	h.Kind, h.Flags, h.Verdict.Code = Kind(b[4]), b[5], b[6]
	h.PayloadLen = le.Uint32(b[8:])
	h.RawLen = le.Uint32(b[12:])
	h.Sequence = le.Uint64(b[16:])
	h.Time = int64(le.Uint64(b[24:]))
	h.MinTime = int64(le.Uint64(b[32:]))
	h.MaxTime = int64(le.Uint64(b[40:]))
	copy(h.Digest[:], b[48:])
	for i, p := range [...]*uint32{
		&h.Samples, &h.Histograms, &h.Exemplars, &h.Series, &h.Metadata, &h.Errors,
		&h.Verdict.Samples, &h.Verdict.Histograms, &h.Verdict.Exemplars, &h.Verdict.Rejected,
	} {
		*p = le.Uint32(b[64+4*i:])
	}
	h.Synced = le.Uint64(b[104:])
	h.Prev = le.Uint32(b[112:])
	h.PayloadCRC = le.Uint32(b[116:])
	h.Verdict.Limits = le.Uint32(b[120:])
	return h, h.check()
}

func (h *FrameHeader) check() error {
	switch {
	case h.Kind < KindKeyframe || h.Kind > KindFooter || h.Flags&^(FlagZstd|FlagLast|FlagElections|FlagPlacement) != 0:
		return fmt.Errorf("frame header: %w: kind %d, flags %#x", ErrVersion, h.Kind, h.Flags)
	case h.PayloadLen > MaxPayload || h.RawLen > MaxPayload:
		return fmt.Errorf("frame header: %w: %d bytes, %d raw", ErrTooLarge, h.PayloadLen, h.RawLen)
	case h.Flags&FlagZstd == 0 && h.PayloadLen != h.RawLen:
		return fmt.Errorf("frame header: %w: stored length", ErrCorrupt)
	case h.Sequence > maxSequence:
		return fmt.Errorf("frame header: %w: sequence %d", ErrCorrupt, h.Sequence)
	case h.Kind == KindFooter && h.PayloadLen != 0:
		return fmt.Errorf("frame header: %w: footer with payload", ErrCorrupt)
	case h.Kind != KindFooter && (h.Samples > MaxSamples || h.Series > MaxSeries ||
		h.Histograms > MaxEntries || h.Exemplars > MaxEntries || h.Metadata > MaxEntries ||
		h.Errors > MaxEntries):
		return fmt.Errorf("frame header: %w: counts", ErrTooLarge)
	}
	return nil
}

// setOptional notes which of the optional sections a frame has.
func (h *FrameHeader) setOptional(elections []Election, placement Placement) {
	if len(elections) > 0 {
		h.Flags |= FlagElections
	}
	if !placement.None() {
		h.Flags |= FlagPlacement
	}
}

// VerifyPayload checks a payload against its header.
func (h *FrameHeader) VerifyPayload(payload []byte) error {
	if len(payload) != int(h.PayloadLen) {
		return fmt.Errorf("payload: %w: %d bytes of %d", ErrShort, len(payload), h.PayloadLen)
	}
	if crc32.Checksum(payload, castagnoli) != h.PayloadCRC {
		return fmt.Errorf("payload: %w: checksum", ErrCorrupt)
	}
	return nil
}

// The time range of no samples: any sample's time is below the one and above the other.
const (
	noMinTime = math.MaxInt64
	noMaxTime = math.MinInt64
)
