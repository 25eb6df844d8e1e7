package segment

import "google.golang.org/protobuf/encoding/protowire"

// Scalar returns the first field of a number in a message's wire bytes, such as those
// of a histogram or an exemplar: what kind says, a varint or 8 bytes. Zero means that
// the message has none, or is malformed before it.
func Scalar(message []byte, field protowire.Number, kind protowire.Type) uint64 {
	for len(message) > 0 {
		number, found, n := protowire.ConsumeTag(message)
		if n < 0 {
			return 0
		}
		message = message[n:]
		if number == field && found == kind {
			var v uint64
			if kind == protowire.Fixed64Type {
				v, _ = protowire.ConsumeFixed64(message)
			} else {
				v, _ = protowire.ConsumeVarint(message)
			}
			return v
		}
		if n = protowire.ConsumeFieldValue(number, found, message); n < 0 {
			return 0
		}
		message = message[n:]
	}
	return 0
}
