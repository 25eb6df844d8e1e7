package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/promgrpc/exporter/internal/segment"
)

// A part is a file, or a piece of memory, with the samples of consecutive blocks of one
// segment by series:
//
//	magic and version    16 bytes
//	extents              of each series its chunks, as chunk.Append has them
//	blocks of series     of each its labels, by their numbers, and where its extent is
//	blocks of labels     the values, sorted by name and value; a label's number is its place
//	blocks of postings   of each label the series that have it, as runs
//	directory            names of labels, lengths of blocks
//	trailer              128 bytes
//
// Series are sorted by their labels, and a series' id is its place. A block has up to 64
// entries and a checksum, so that few are read where little is asked for.
const (
	partMagic    = "PGRPCPRT"
	partVersion  = 1
	headSize     = 16
	trailerSize  = 128
	perBlock     = 64
	checksumSize = 4
	// mostBlock is the most bytes of a block, and mostDirectory of a directory: what a file
	// says of a size is not believed beyond it.
	mostBlock     = 256 << 20
	mostDirectory = 256 << 20
	mostSeries    = 1 << 31
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errDamaged = errors.New("damaged part")
)

// span is which blocks of a log a part is of.
type span struct {
	log segment.LogID
	// segment is the first sequence of the segment.
	segment  uint64
	from, to uint64
}

func (s span) String() string {
	return fmt.Sprintf("%s-%020d-%020d-%020d", s.log, s.segment, s.from, s.to)
}

// trailer ends a part.
type trailer struct {
	span
	sum      uint32 // checksum of the last block's frame, which stands for all before it
	min, max int64  // of all samples; min is above max if there are none
	count    uint64 // of series
	// directory is where it is, and how long.
	directory, length uint64
	directorySum      uint32
}

func (t *trailer) append(dst []byte) []byte {
	var b [trailerSize]byte
	le := binary.LittleEndian
	copy(b[:], partMagic)
	le.PutUint16(b[8:], partVersion)
	le.PutUint32(b[12:], t.sum)
	copy(b[16:], t.log[:])
	for i, v := range [...]uint64{t.segment, t.from, t.to, uint64(t.min), uint64(t.max), t.count, t.directory, t.length} {
		le.PutUint64(b[32+8*i:], v)
	}
	le.PutUint32(b[96:], t.directorySum)
	le.PutUint32(b[124:], crc32.Checksum(b[:124], castagnoli))
	return append(dst, b[:]...)
}

func parseTrailer(b []byte) (trailer, error) {
	var t trailer
	le := binary.LittleEndian
	switch {
	case len(b) != trailerSize || string(b[:8]) != partMagic:
		return t, fmt.Errorf("%w: no trailer", errDamaged)
	case le.Uint32(b[124:]) != crc32.Checksum(b[:124], castagnoli):
		return t, fmt.Errorf("%w: checksum of the trailer", errDamaged)
	case le.Uint16(b[8:]) != partVersion:
		return t, fmt.Errorf("%w: version %d", errDamaged, le.Uint16(b[8:]))
	}
	t.sum = le.Uint32(b[12:])
	copy(t.log[:], b[16:])
	var low, high uint64
	for i, v := range [...]*uint64{&t.segment, &t.from, &t.to, &low, &high, &t.count, &t.directory, &t.length} {
		*v = le.Uint64(b[32+8*i:])
	}
	t.min, t.max = int64(low), int64(high)
	t.directorySum = le.Uint32(b[96:])
	if t.segment > t.from || t.from > t.to || t.count > mostSeries || t.length > mostDirectory {
		return t, fmt.Errorf("%w: trailer", errDamaged)
	}
	return t, nil
}

// appendSum appends the checksum of what was appended from a place on.
func appendSum(b []byte, from int) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[from:], castagnoli))
}

// cutSum returns what bytes hold before their checksum.
func cutSum(b []byte) ([]byte, bool) {
	n := len(b) - checksumSize
	if n < 0 || crc32.Checksum(b[:n], castagnoli) != binary.LittleEndian.Uint32(b[n:]) {
		return nil, false
	}
	return b[:n:n], true
}

// fields reads the parts of a block. After an error it returns zeros.
type fields struct {
	b   []byte
	bad bool
}

func (r *fields) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := uint64(r.b[0])
		r.b = r.b[1:]
		return v
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *fields) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes returns as many as the length before them says.
func (r *fields) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// ended says whether all was read, and nothing is wrong.
func (r *fields) ended() bool { return !r.bad && len(r.b) == 0 }
