// Package protoscan reads the fields of protobuf messages where they lie.
//
// Guaranteed: nothing is copied, no input makes it panic, and a field is read, or refused,
// as protobuf's own decoders do it. Groups are skipped whole.
package protoscan

import (
	"encoding/binary"
	"math"
)

// The wire types of protobuf.
const (
	TypeVarint  = 0
	TypeFixed64 = 1
	TypeBytes   = 2
	TypeStart   = 3
	TypeEnd     = 4
	TypeFixed32 = 5
)

// Varint reads a varint at i. next is 0 when there is none. As other decoders
// do, it drops bits beyond the 64th.
func Varint(b []byte, i int) (v uint64, next int) {
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

// Field is one field of a message. Value is of the types varint and fixed.
type Field struct {
	Number int32
	Wire   uint8
	Value  uint64
	Bytes  []byte
	Next   int
	// Strict says that every decoder would read the field alike.
	Strict bool
}

// Read reads the field at i, groups apart: those are skipped whole.
func Read(b []byte, i int) (f Field, ok bool) {
	tag, n := Varint(b, i)
	if n == 0 {
		return f, false
	}
	f.Number, f.Wire, f.Strict = int32(tag>>3), uint8(tag&7), n-i <= 2
	if f.Number <= 0 {
		return f, false
	}
	switch f.Wire {
	case TypeVarint:
		f.Value, f.Next = Varint(b, n)
		if f.Next-n == 10 && b[f.Next-1] > 1 {
			f.Strict = false
		}
	case TypeFixed64:
		if len(b)-n < 8 {
			return f, false
		}
		f.Value, f.Next = binary.LittleEndian.Uint64(b[n:]), n+8
	case TypeFixed32:
		if len(b)-n < 4 {
			return f, false
		}
		f.Value, f.Next = uint64(binary.LittleEndian.Uint32(b[n:])), n+4
	case TypeBytes:
		size, at := Varint(b, n)
		if at == 0 || size > uint64(len(b)-at) {
			return f, false
		}
		f.Next = at + int(size)
		f.Bytes = b[at:f.Next:f.Next]
		f.Strict = f.Strict && at-n <= 5
	case TypeStart:
		f.Next, f.Strict = skipGroup(b, n), false
	}
	return f, f.Next > 0
}

// Short finds the content of a field of bytes with this tag, of one byte,
// that is shorter than 16 KiB. end is 0 where the field at i is none.
func Short(b []byte, i int, tag byte) (at, end int) {
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
		tag, n := Varint(b, i)
		if n == 0 {
			return 0
		}
		i = n
		switch tag & 7 {
		case TypeVarint:
			_, i = Varint(b, i)
		case TypeFixed64:
			i += 8
		case TypeFixed32:
			i += 4
		case TypeBytes:
			size, at := Varint(b, i)
			if at == 0 || size > uint64(len(b)-at) {
				return 0
			}
			i = at + int(size)
		case TypeStart:
			depth++
		case TypeEnd:
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

// Float is the value of the type fixed64 as a number.
func (f *Field) Float() float64 { return math.Float64frombits(f.Value) }

// Pair reads a message of two fields of bytes, such as a label: the first is its name, the
// second its value. Other fields are ignored.
func Pair(b []byte) (name, value []byte, ok bool) {
	if at, end := Short(b, 0, 0x0a); end > 0 { // As encoders write it.
		if from, to := Short(b, end, 0x12); to > 0 && to == len(b) {
			return b[at:end], b[from:to], true
		}
	}
	for i := 0; i < len(b); {
		f, ok := Read(b, i)
		if !ok || f.Number <= 2 && f.Wire != TypeBytes {
			return nil, nil, false
		}
		i = f.Next
		switch f.Number {
		case 1:
			name = f.Bytes
		case 2:
			value = f.Bytes
		}
	}
	return name, value, true
}
