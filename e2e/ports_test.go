package e2e

import (
	"fmt"
	"net"
	"testing"

	"github.com/promgrpc/exporter/e2e/harness"
)

// usualPorts are those of the project and of the programs around it.
var usualPorts = []int{8070, 8080, 8081, 8090, 8091, 8095, 8300, 8301, 8302, 8404, 8500, 8502, 8503, 8600, 9090, 9092}

// takeUsualPorts listens at all of them on all addresses, unless somebody does
// already, until the test ends.
func takeUsualPorts(t *testing.T) {
	t.Helper()
	for _, port := range usualPorts {
		if l, err := net.Listen("tcp", fmt.Sprint(":", port)); err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
		if l, err := net.ListenPacket("udp", fmt.Sprint(":", port)); err == nil {
			t.Cleanup(func() { _ = l.Close() })
		}
	}
}

// TestUsualPortsAreTaken starts what the tests run on a machine where the
// exporter, a Consul and a Prometheus run already.
func TestUsualPortsAreTaken(t *testing.T) {
	t.Parallel()
	takeUsualPorts(t)
	cluster := harness.NewCluster(t, harness.Options{Consul: harness.StartConsul(t)})
	harness.StartPrometheus(t, harness.PrometheusOptions{
		Name: "ports", Tool: "prometheus3", URL: cluster.WriteURL(), Target: harness.StartApp(t),
	})
}
