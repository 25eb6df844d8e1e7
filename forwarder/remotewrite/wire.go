package remotewrite

import (
	"encoding/binary"
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The wire types of protobuf.
const (
	typeVarint  = 0
	typeFixed64 = 1
	typeBytes   = 2
	typeStart   = 3
	typeEnd     = 4
	typeFixed32 = 5
)

var errDamaged = errors.New("body is not a valid protobuf message")

// varint reads a varint at i. next is 0 when there is none. As other decoders
// do, it drops bits beyond the 64th.
func varint(b []byte, i int) (v uint64, next int) {
	for shift := uint(0); shift < 64 && i < len(b); shift += 7 {
		c := b[i]
		i++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, i
		}
	}
	return 0, 0
}

// field is one field of a message. Value is of the types varint and fixed.
type field struct {
	number int32
	wire   uint8
	value  uint64
	bytes  []byte
	next   int
	// strict says that every decoder would read the field alike.
	strict bool
}

// readField reads the field at i, groups apart: those are skipped whole.
func readField(b []byte, i int) (f field, ok bool) {
	tag, n := varint(b, i)
	if n == 0 {
		return f, false
	}
	f.number, f.wire, f.strict = int32(tag>>3), uint8(tag&7), n-i <= 2
	if f.number <= 0 {
		return f, false
	}
	switch f.wire {
	case typeVarint:
		f.value, f.next = varint(b, n)
		if f.next-n == 10 && b[f.next-1] > 1 {
			f.strict = false
		}
	case typeFixed64:
		if len(b)-n < 8 {
			return f, false
		}
		f.value, f.next = binary.LittleEndian.Uint64(b[n:]), n+8
	case typeFixed32:
		if len(b)-n < 4 {
			return f, false
		}
		f.value, f.next = uint64(binary.LittleEndian.Uint32(b[n:])), n+4
	case typeBytes:
		size, at := varint(b, n)
		if at == 0 || size > uint64(len(b)-at) {
			return f, false
		}
		f.next = at + int(size)
		f.bytes = b[at:f.next:f.next]
		f.strict = f.strict && at-n <= 5
	case typeStart:
		f.next, f.strict = skipGroup(b, n), false
	}
	return f, f.next > 0
}

// shortField finds the content of a field of bytes with this tag, of one byte,
// that is shorter than 16 KiB. end is 0 where the field at i is none.
func shortField(b []byte, i int, tag byte) (at, end int) {
	if len(b)-i < 3 || b[i] != tag {
		return 0, 0
	}
	size := int(b[i+1])
	at = i + 2
	if size >= 0x80 {
		if b[i+2] >= 0x80 {
			return 0, 0
		}
		size = size&0x7f | int(b[i+2])<<7
		at++
	}
	if end = at + size; end > len(b) {
		return 0, 0
	}
	return at, end
}

// skipGroup returns where the group whose content starts at i ends, 0 when it does not.
// Remote write has never had groups; what is in them is ignored.
func skipGroup(b []byte, i int) int {
	for depth := 1; depth > 0; {
		tag, n := varint(b, i)
		if n == 0 {
			return 0
		}
		i = n
		switch tag & 7 {
		case typeVarint:
			_, i = varint(b, i)
		case typeFixed64:
			i += 8
		case typeFixed32:
			i += 4
		case typeBytes:
			size, at := varint(b, i)
			if at == 0 || size > uint64(len(b)-at) {
				return 0
			}
			i = at + int(size)
		case typeStart:
			depth++
		case typeEnd:
			depth--
		default:
			return 0
		}
		if i == 0 || i > len(b) {
			return 0
		}
	}
	return i
}

func (f *field) float() float64 { return math.Float64frombits(f.value) }

// zigzag32 decodes a sint32.
func zigzag32(v uint64) int32 { return int32(protowire.DecodeZigZag(v & math.MaxUint32)) }

func appendVarint(dst []byte, number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, number, protowire.VarintType), v)
}

func appendFixed64(dst []byte, number protowire.Number, v uint64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(dst, number, protowire.Fixed64Type), v)
}

// appendLength starts a field of so many bytes.
func appendLength(dst []byte, number protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, number, protowire.BytesType), uint64(size))
}
