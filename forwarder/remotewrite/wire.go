package remotewrite

import (
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

var errDamaged = errors.New("body is not a valid protobuf message")

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
