package stream

import "google.golang.org/protobuf/encoding/protowire"

// exemplarTime finds the timestamp, field 3, in an exemplar's wire bytes. Zero means
// that it has none.
func exemplarTime(data []byte) int64 {
	for len(data) > 0 {
		field, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return 0
		}
		data = data[n:]
		if field == 3 && kind == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(data)
			return int64(v)
		}
		if n = protowire.ConsumeFieldValue(field, kind, data); n < 0 {
			return 0
		}
		data = data[n:]
	}
	return 0
}
