package feed

import (
	"testing"

	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/segment"
)

// An upstream cannot make a relay keep a piece of each of its logs, nor one without
// end.
func TestOnePieceAtATime(t *testing.T) {
	in := &intake{}
	one, other := &intakeLog{}, &intakeLog{}
	part := func(offset uint64, size int) *metricsv1.SegmentData {
		return &metricsv1.SegmentData{Offset: offset, Data: make([]byte, size), Partial: true}
	}
	require.NoError(t, in.data(one, part(0, 10)))
	require.NoError(t, in.data(one, part(10, 10)))
	require.ErrorContains(t, in.data(other, part(0, 10)), "within that of another")
	require.ErrorContains(t, in.data(one, part(5, 10)), "offset 5")
	require.ErrorContains(t, in.data(one, part(20, segment.MaxPayload+4096)), "more than")
}
