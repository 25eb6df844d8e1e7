package segment

import "google.golang.org/protobuf/encoding/protowire"

// The fields of a prometheus.Label, and that which a prometheus.TimeSeries has it in.
const (
	fieldLabel      = 1
	fieldLabelName  = 1
	fieldLabelValue = 2
)

// AppendLabel appends a label as it stands in a TimeSeries. All encoders agree on this
// spelling if neither part is empty, so that labels can be compared by their bytes.
func AppendLabel[T string | []byte](dst []byte, name, value T) []byte {
	size := protowire.SizeTag(fieldLabelName) + protowire.SizeBytes(len(name)) +
		protowire.SizeTag(fieldLabelValue) + protowire.SizeBytes(len(value))
	dst = protowire.AppendVarint(protowire.AppendTag(dst, fieldLabel, protowire.BytesType), uint64(size))
	dst = protowire.AppendVarint(protowire.AppendTag(dst, fieldLabelName, protowire.BytesType), uint64(len(name)))
	dst = append(dst, name...)
	dst = protowire.AppendVarint(protowire.AppendTag(dst, fieldLabelValue, protowire.BytesType), uint64(len(value)))
	return append(dst, value...)
}
