package rpc

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/thanos"
	"github.com/promgrpc/exporter/gen/go/thanos/info"
)

// services are those of api/ that are served.
var services = []protoreflect.ServiceDescriptor{
	metricsv1.File_promgrpc_metrics_v1_metrics_service_proto.Services().ByName("MetricsService"),
	queryv1.File_promgrpc_query_v1_query_service_proto.Services().ByName("QueryService"),
	info.File_thanos_info_info_proto.Services().ByName("Info"),
	thanos.File_thanos_store_proto.Services().ByName("Store"),
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
