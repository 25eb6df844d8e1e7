package call

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// fieldSamples of a TimeSeries message.
const fieldSamples = 2

// AppendFloat appends a float sample as a field of a TimeSeries message.
func AppendFloat(wire []byte, timestamp, start int64, value float64) []byte {
	wire = append(wire, fieldSamples<<3|byte(protowire.BytesType), 0)
	at := len(wire) - 1
	if bits := math.Float64bits(value); bits != 0 {
		wire = append(wire, 1<<3|byte(protowire.Fixed64Type))
		wire = protowire.AppendFixed64(wire, bits)
	}
	if timestamp != 0 {
		wire = append(wire, 2<<3|byte(protowire.VarintType))
		wire = protowire.AppendVarint(wire, uint64(timestamp))
	}
	if start != 0 {
		wire = protowire.AppendTag(wire, 3, protowire.VarintType)
		wire = protowire.AppendVarint(wire, uint64(start))
	}
	wire[at] = byte(len(wire) - at - 1) // 31 at most
	return wire
}
