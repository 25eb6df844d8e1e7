// Package snappyblock reads snappy's block format, in which remote write is compressed.
//
// It guarantees that a length is known, and can be true, before anything is allocated
// for it, and that what other decoders of snappy read is read to the same bytes.
package snappyblock

import (
	"encoding/binary"
	"errors"

	"github.com/klauspost/compress/s2"
)

// ErrCorrupt is the error of what is no block.
var ErrCorrupt = errors.New("not in snappy's block format")

// Claim returns how large a block says that it is when decoded.
func Claim(block []byte) (uint64, error) {
	n, header := binary.Uvarint(block)
	if header <= 0 {
		return 0, ErrCorrupt
	}
	return n, nil
}

// Holds says whether a block can become as large as it claims: no element makes more
// of its bytes than a copy of 64, which takes 3.
func Holds(block []byte, claim uint64) bool {
	_, header := binary.Uvarint(block)
	return claim <= uint64(len(block)-header)*64/3
}

// Decode decodes a block into dst, which has room for what it claims. S2 reads blocks
// of snappy, in two thirds of the time of snappy's own package.
func Decode(dst, block []byte) ([]byte, error) {
	decoded, err := s2.Decode(dst, block)
	if err != nil {
		return nil, ErrCorrupt
	}
	return decoded, nil
}
