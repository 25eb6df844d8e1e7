package replica

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// The sum is the one of the message, and what is no histogram has none.
func FuzzHistogramSum(f *testing.F) {
	f.Add(uint64(0x7ff0000000000002), int64(1700000000000), []byte{0x19, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add(uint64(0), int64(0), []byte{0x18, 0xff})
	f.Fuzz(func(t *testing.T, bits uint64, timestamp int64, junk []byte) {
		histogramSum(junk)
		data, err := proto.Marshal(&metricsv1.Histogram{Sum: math.Float64frombits(bits), CustomValues: []float64{1, 2}, Timestamp: timestamp})
		require.NoError(t, err)
		require.Equal(t, bits, math.Float64bits(histogramSum(data)))
	})
}
