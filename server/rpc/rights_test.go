package rpc

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// A call that is not in the table would be open to whoever has any policy.
func TestEveryCallNeedsARight(t *testing.T) {
	service := metricsv1.File_promgrpc_metrics_v1_metrics_service_proto.Services().ByName("MetricsService")
	methods := service.Methods()
	require.Len(t, rightOf, methods.Len())
	for i := range methods.Len() {
		path := fmt.Sprintf("/%s/%s", service.FullName(), methods.Get(i).Name())
		require.Contains(t, rightOf, path)
		require.False(t, open(path), path)
	}
}
