package replica

import (
	"math"

	"github.com/prometheus/prometheus/model/value"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/promgrpc/exporter/internal/segment"
)

// live says whether a snapshot shows a series: it was written at or after a time
// (ms), and has not ended. The timestamps of its samples do not matter: they may be
// in the past or in the future.
func live(l *segment.Latest, writtenSince int64) bool { return written(l, writtenSince) && !ended(l) }

// written says whether a series got a sample at or after a time (ms).
func written(l *segment.Latest, since int64) bool { return !l.None && l.Written >= since }

// ended says whether the latest sample of a series is a stale marker.
func ended(l *segment.Latest) bool {
	if l.Histogram != nil {
		return value.IsStaleNaN(histogramSum(l.Histogram))
	}
	return value.IsStaleNaN(l.Value)
}

// histogramSum finds the sum, field 3, in a histogram's wire bytes. If that is a
// stale marker, so is the histogram.
func histogramSum(data []byte) float64 {
	return math.Float64frombits(segment.Scalar(data, 3, protowire.Fixed64Type))
}
