package stream

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/promgrpc/exporter/internal/segment"
)

// exemplarTime finds the timestamp, field 3, in an exemplar's wire bytes. Zero means
// that it has none.
func exemplarTime(data []byte) int64 {
	return int64(segment.Scalar(data, 3, protowire.VarintType))
}
