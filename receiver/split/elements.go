package split

import "encoding/binary"

// The kinds of elements, in the lowest bits of their first byte.
const (
	tagLiteral = iota
	tagCopy1   // an offset of 11 bits
	tagCopy2   // of 16
	tagCopy4   // of 32
)

// elements are those of a block that was decoded before.
type elements struct {
	block []byte
	i     int // where the next begins
	at    int // where in what is decoded that begins which it says
}

// read returns how many bytes the next element says, from how far back it copies them, 0 for
// a literal, and where the one after it begins: 0 if it is none of snappy's.
func (e *elements) read() (n, offset, next int) {
	var b [5]byte
	if copy(b[:], e.block[e.i:]) == 0 {
		return 0, 0, 0
	}
	high := int(b[0] >> 2)
	switch b[0] & 3 {
	case tagLiteral:
		n, next = high+1, e.i+1
		if more := high - 59; more > 0 {
			length := binary.LittleEndian.Uint32(b[1:]) & (1<<(8*more) - 1)
			n, next = int(length)+1, next+more
		}
		next += n
	case tagCopy1:
		n, offset, next = high&7+4, high>>3<<8|int(b[1]), e.i+2
	case tagCopy2:
		n, offset, next = high+1, int(binary.LittleEndian.Uint16(b[1:])), e.i+3
	case tagCopy4:
		n, offset, next = high+1, int(binary.LittleEndian.Uint32(b[1:])), e.i+5
	}
	if next > len(e.block) || b[0]&3 != tagLiteral && offset == 0 { // S2 repeats the last one.
		return 0, 0, 0
	}
	return n, offset, next
}

// form is what the first byte of an element says, by which elements are skimmed: there is
// no branch by what they are, which no processor would guess.
type form struct {
	says, takes uint8  // bytes; says is 0 for those that are not skimmed
	high        uint16 // of the offset
	mask        uint32 // of what follows, for the rest of the offset
}

var forms = func() (all [256]form) {
	for tag := range all {
		f, high := &all[tag], uint16(tag>>2)
		switch tag & 3 {
		case tagLiteral:
			if high < 60 {
				*f = form{says: uint8(high + 1), takes: uint8(high + 2), high: 1} // As if of the byte before.
			}
		case tagCopy1:
			*f = form{says: uint8(high&7 + 4), takes: 2, high: high >> 3 << 8, mask: 0xff}
		case tagCopy2:
			*f = form{says: uint8(high + 1), takes: 3, mask: 0xffff}
		}
	}
	return all
}()

// skim passes the elements that say what lies from start to end, where the next one does, and
// copy from there. It returns false if the next is none.
func (e *elements) skim(start, end int) bool {
	b, i, at := e.block, e.i, e.at
	for len(b)-i > 4 {
		f := &forms[b[i]]
		offset := uint32(f.high) | binary.LittleEndian.Uint32(b[i+1:])&f.mask
		if offset-1 >= uint32(at-start) || at+int(f.says) > end || f.says == 0 {
			break
		}
		i, at = i+int(f.takes), at+int(f.says)
	}
	skimmed := i > e.i
	e.i, e.at = i, at
	return skimmed
}
