package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// HeaderSize is the length of the file header, which opens every segment. All
// numbers are little endian.
//
//	     0       1       2       3       4       5       6       7
//	 0 ┌───────────────────────────────────────────────────────────────┐
//	   │ magic "PGRPCSEG"                                              │
//	 8 ├───────────────┬───────────────┬───────────────────────────────┤
//	   │ version       │ 0             │ previous block's checksum     │
//	16 ├───────────────┴───────────────┴───────────────────────────────┤
//	   │ log id                                                        │
//	24 │                                                               │
//	32 ├───────────────────────────────────────────────────────────────┤
//	   │ first sequence                                                │
//	40 ├───────────────────────────────────────────────────────────────┤
//	   │ creation time, ms                                             │
//	48 ├───────────────────────────────────────────────────────────────┤
//	   │ 0                                                             │
//	56 ├───────────────────────────────┬───────────────────────────────┤
//	   │ 0                             │ CRC32C of bytes 0..59         │
//	64 └───────────────────────────────┴───────────────────────────────┘
const HeaderSize = 64

// Version of the format that this package writes, and the only one it reads.
const Version = 6

const headerMagic = "PGRPCSEG"

// The errors of decoding wrap one of these.
var (
	// ErrShort says that the input ends before what it announces.
	ErrShort = errors.New("incomplete")
	// ErrCorrupt says that the input is not what the encoder writes.
	ErrCorrupt = errors.New("corrupt")
	// ErrVersion says that the input is of a version that is not known here.
	ErrVersion = errors.New("unknown format version")
	// ErrTooLarge says that a frame is over a limit of the format.
	ErrTooLarge = errors.New("over a limit of the segment format")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is the file header of a segment.
type Header struct {
	LogID         LogID
	FirstSequence uint64
	// CreateTime in ms.
	CreateTime int64
	// PrevChecksum is the checksum of the block before FirstSequence, so that a
	// position between two segments can be compared. 0 in a log's first segment.
	PrevChecksum uint32
	// Checksum of the header itself, set by ParseHeader.
	Checksum uint32
}

// Append appends the header in HeaderSize bytes.
func (h *Header) Append(dst []byte) []byte {
	var b [HeaderSize]byte
	copy(b[:], headerMagic)
	binary.LittleEndian.PutUint16(b[8:], Version)
	binary.LittleEndian.PutUint32(b[12:], h.PrevChecksum)
	copy(b[16:], h.LogID[:])
	binary.LittleEndian.PutUint64(b[32:], h.FirstSequence)
	binary.LittleEndian.PutUint64(b[40:], uint64(h.CreateTime))
	h.Checksum = crc32.Checksum(b[:60], castagnoli)
	binary.LittleEndian.PutUint32(b[60:], h.Checksum)
	return append(dst, b[:]...)
}

// ParseHeader reads a file header from the beginning of b.
func ParseHeader(b []byte) (Header, error) {
	var h Header
	if len(b) < HeaderSize {
		return h, fmt.Errorf("file header: %w: %d bytes", ErrShort, len(b))
	}
	b = b[:HeaderSize]
	if string(b[:8]) != headerMagic {
		return h, fmt.Errorf("file header: %w: not a segment", ErrCorrupt)
	}
	if crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]) {
		return h, fmt.Errorf("file header: %w: checksum", ErrCorrupt)
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != Version {
		return h, fmt.Errorf("file header: %w: %d", ErrVersion, v)
	}
	h.PrevChecksum = binary.LittleEndian.Uint32(b[12:])
	copy(h.LogID[:], b[16:])
	h.FirstSequence = binary.LittleEndian.Uint64(b[32:])
	h.CreateTime = int64(binary.LittleEndian.Uint64(b[40:]))
	h.Checksum = binary.LittleEndian.Uint32(b[60:])
	if h.FirstSequence == 0 {
		return h, fmt.Errorf("file header: %w: first sequence 0", ErrCorrupt)
	}
	return h, nil
}
