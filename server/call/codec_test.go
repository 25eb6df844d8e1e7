package call

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// A response is its bytes in protobuf, and what they mean in JSON.
func TestCodecs(t *testing.T) {
	message := &metricsv1.GetMetricsResponse{
		Timeseries: []*metricsv1.TimeSeries{{
			Labels: []*metricsv1.Label{{Name: "__name__", Value: "x"}}, Samples: []*metricsv1.Sample{{Value: 3, Timestamp: 1, StartTimestamp: 2}}, Ref: 4,
		}},
		Cursor: "c", Event: &metricsv1.GetMetricsResponse_Synced{Synced: &metricsv1.Synced{}},
	}
	wire, err := proto.Marshal(message)
	require.NoError(t, err)
	r := &Response{wire: wire, message: func() proto.Message { return new(metricsv1.GetMetricsResponse) }}
	b, err := protoCodec{}.MarshalAppend([]byte("before"), r)
	require.NoError(t, err)
	require.Equal(t, append([]byte("before"), wire...), b)
	js, err := jsonCodec{}.Marshal(r)
	require.NoError(t, err)
	var back metricsv1.GetMetricsResponse
	require.NoError(t, jsonCodec{}.Unmarshal(js, &back))
	require.True(t, proto.Equal(message, &back))
	for _, c := range []interface {
		Marshal(any) ([]byte, error)
		Unmarshal([]byte, any) error
	}{protoCodec{}, jsonCodec{}} {
		_, err := c.Marshal("x")
		require.Error(t, err)
		require.Error(t, c.Unmarshal(nil, "x"))
	}
	require.Error(t, jsonCodec{}.Unmarshal(nil, &back))
}
