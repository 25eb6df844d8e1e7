package stream

import "github.com/promgrpc/exporter/internal/segment"

// labelSource knows the labels of series.
type labelSource interface {
	// Labels appends the labels of a series to buf, if it is known.
	Labels(ref uint64, buf segment.Labels) (segment.Labels, bool)
	// AppendLabels appends them as they stand in a TimeSeries; nothing if it
	// is not known.
	AppendLabels(dst []byte, ref uint64) []byte
}
