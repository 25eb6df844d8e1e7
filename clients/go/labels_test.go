package promgrpc_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	promgrpc "github.com/promgrpc/exporter/clients/go"
	"github.com/promgrpc/exporter/clients/internal/metricstest"
	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

func referred(i int, ref uint64, name string) *metricsv1.GetMetricsResponse {
	r := response(i)
	r.Timeseries[0].Ref, r.Timeseries[0].Labels = ref, nil
	if name != "" {
		r.Timeseries[0].Labels = []*metricsv1.Label{{Name: "__name__", Value: name}}
	}
	return r
}

// Each stream has its own references; a stream that uses one that it did not
// introduce is given up, and that response is not yielded.
func TestGetRestoresLabels(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			server := &metricstest.Server{Script: func(_ context.Context, call *metricstest.Call) error {
				forget := referred(8, 1, "c")
				forget.ForgetReferences = true
				var script []*metricsv1.GetMetricsResponse
				switch call.Number {
				case 0:
					script = []*metricsv1.GetMetricsResponse{referred(1, 1, "a"), referred(2, 2, "b"), referred(3, 1, ""), response(4), referred(5, 3, "")}
				case 1:
					script = []*metricsv1.GetMetricsResponse{referred(5, 2, "")}
				default:
					script = []*metricsv1.GetMetricsResponse{referred(5, 2, "a"), referred(6, 1, "b"), referred(7, 2, ""), forget, referred(9, 1, ""), end()}
				}
				for _, r := range script {
					if err := call.Send(r); err != nil {
						return err
					}
				}
				return nil
			}}
			c := newClient(t, protocol, promgrpc.Options{}, server.Start(t))
			var got []string
			for u, err := range c.Get(t.Context(), promgrpc.Selection{Follow: true}) {
				require.NoError(t, err)
				require.False(t, u.GetForgetReferences())
				for _, series := range u.GetTimeseries() {
					require.Zero(t, series.GetRef())
					got = append(got, fmt.Sprint(series.GetLabels()[0].GetValue(), series.GetSamples()[0].GetValue()))
				}
			}
			require.Equal(t, []string{"a1", "b2", "a3", "n4", "a5", "b6", "a7", "c8", "c9"}, got)
			requests := server.Requests()
			require.Equal(t, "c4", requests[1].GetCursor())
			require.Equal(t, "c4", requests[2].GetCursor())
			for _, req := range requests {
				require.True(t, req.GetLabelReferences())
			}
		})
	}
}

func TestSnapshotNeedsNoReferences(t *testing.T) {
	server := &metricstest.Server{Script: func(_ context.Context, call *metricstest.Call) error { return call.Send(end()) }}
	c := newClient(t, promgrpc.ProtocolGRPC, promgrpc.Options{}, server.Start(t))
	require.Empty(t, values(t, c, promgrpc.Selection{}))
	require.False(t, server.Requests()[0].GetLabelReferences())
}
