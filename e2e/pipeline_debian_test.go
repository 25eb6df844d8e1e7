//go:build debian

package e2e

import (
	"testing"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestPipelineOfPrometheus2 is TestPipeline with a Prometheus 2 beside a 3.
func TestPipelineOfPrometheus2(t *testing.T) {
	t.Parallel()
	testPipeline(t,
		harness.PrometheusOptions{Name: "prometheus2", Tool: "prometheus2"},
		harness.PrometheusOptions{Name: "prometheus3", Tool: "prometheus3"},
	)
}
