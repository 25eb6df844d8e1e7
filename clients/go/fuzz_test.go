package promgrpc

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// FuzzRestore restores the labels of any two responses of one stream: a series then
// has labels and no reference, or the stream ends.
func FuzzRestore(f *testing.F) {
	response := func(forget bool, list ...*metricsv1.TimeSeries) []byte {
		b, err := proto.Marshal(&metricsv1.GetMetricsResponse{ForgetReferences: forget, Timeseries: list})
		require.NoError(f, err)
		return b
	}
	up := []*metricsv1.Label{{Name: "__name__", Value: "up"}}
	told := response(false, &metricsv1.TimeSeries{Ref: 1, Labels: up}, &metricsv1.TimeSeries{Ref: 1})
	f.Add(told, response(false, &metricsv1.TimeSeries{Ref: 1}))
	f.Add(told, response(true, &metricsv1.TimeSeries{Ref: 1}))
	f.Add(told, response(false, &metricsv1.TimeSeries{Ref: 2}, &metricsv1.TimeSeries{Labels: up}))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		l := labels{}
		for _, wire := range [][]byte{first, second} {
			msg := new(metricsv1.GetMetricsResponse)
			if proto.Unmarshal(wire, msg) != nil {
				continue
			}
			referred := make([]bool, len(msg.GetTimeseries()))
			for i, series := range msg.GetTimeseries() {
				referred[i] = series.GetRef() != 0
			}
			if l.restore(msg.GetForgetReferences(), msg.GetTimeseries()) != nil {
				continue
			}
			for i, series := range msg.GetTimeseries() {
				require.Zero(t, series.GetRef())
				require.True(t, !referred[i] || len(series.GetLabels()) > 0)
			}
		}
	})
}
