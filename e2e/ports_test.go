package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

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

// TestLocalSaysWhichPortsAreTaken runs deploy/local/up where one of its ports is
// taken: it begins nothing, and says which, and how to choose others.
func TestLocalSaysWhichPortsAreTaken(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	const rpc = 8090
	port := l.Addr().(*net.TCPAddr).Port
	p := harness.StartEnv(t, "up", []string{
		"CONSUL=false", "HAPROXY=false", "PROMETHEUS=false", fmt.Sprint("OFFSET=", port-rpc),
		"BIN=" + filepath.Dir(harness.Binary(t, "prometheus-api-server")),
	}, harness.File("deploy/local/up"), t.TempDir())
	if code := p.Wait(time.Minute); code != 1 {
		t.Errorf("exit code %d", code)
	}
	contains(t, p.Stderr().Bytes(), "already in use", fmt.Sprint(" ", port), "OFFSET=")
}
