package rpc

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
)

// services are those of api/ that are served.
var services = []protoreflect.ServiceDescriptor{
	metricsv1.File_promgrpc_metrics_v1_metrics_service_proto.Services().ByName("MetricsService"),
	queryv1.File_promgrpc_query_v1_query_service_proto.Services().ByName("QueryService"),
}

// A call that is not in the table would be open to whoever has any policy.
func TestEveryCallNeedsARight(t *testing.T) {
	calls := 0
	for _, service := range services {
		methods := service.Methods()
		calls += methods.Len()
		for i := range methods.Len() {
			path := fmt.Sprintf("/%s/%s", service.FullName(), methods.Get(i).Name())
			require.Contains(t, rightOf, path)
			require.False(t, open(path), path)
		}
	}
	require.Len(t, rightOf, calls)
}
