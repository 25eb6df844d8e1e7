package e2e

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/promgrpc/exporter/e2e/harness"
)

const service = "promgrpc.metrics.v1.MetricsService"

// run runs a program with an input to its end and returns what it printed.
func run(t *testing.T, input []byte, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out
}

// contains fails the test if a text lacks one of the parts.
func contains(t *testing.T, text []byte, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("no %q in:\n%s", part, text)
		}
	}
}

// startAnswer starts a pipeline with one server and one series, and returns the
// address of the API.
func startAnswer(t *testing.T) string {
	t.Helper()
	cluster := harness.NewCluster(t, harness.Options{Servers: 1})
	write(t, cluster, series(map[string]string{"__name__": "answer", "job": "tools"}, 42))
	awaitSeries(t, cluster, `answer`, 1)
	return cluster.RPC(0)
}

// TestTools calls the API with what people have at hand.
func TestTools(t *testing.T) {
	t.Parallel()
	address := startAnswer(t)
	sent := harness.Series(map[string]string{"__name__": "answer", "job": "tools"})

	t.Run("grpcurl", func(t *testing.T) {
		grpcurl := harness.Tool(t, "grpcurl")
		contains(t, run(t, nil, grpcurl, "-plaintext", address, "list"), service, "grpc.health.v1.Health")
		contains(t, run(t, nil, grpcurl, "-plaintext", address, "describe", service), "rpc GetMetrics", "stream .promgrpc.metrics.v1.GetMetricsResponse")
		contains(t, run(t, nil, grpcurl, "-plaintext", address, "grpc.health.v1.Health/Check"), "SERVING")
		out := run(t, nil, grpcurl, "-plaintext", "-d", `{"selectors":["answer"]}`, address, service+"/GetMetrics")
		contains(t, out, `"value": 42`, `"tools"`, `"end": {}`)
	})

	for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
		t.Run("buf curl "+protocol, func(t *testing.T) {
			buf := harness.Tool(t, "buf")
			args := []string{"curl", "--protocol", protocol}
			if protocol != "connect" {
				args = append(args, "--http2-prior-knowledge")
			}
			out := run(t, nil, buf, append(args, "--data", `{"selectors":["answer"]}`, "http://"+address+"/"+service+"/GetMetrics")...)
			contains(t, out, "42", `"tools"`, `"end"`)
			out = run(t, nil, buf, append(args, "http://"+address+"/"+service+"/GetStatus")...)
			contains(t, out, `"ready"`)
		})
	}

	for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
		t.Run("client "+protocol, func(t *testing.T) {
			out := harness.Get(t, address, protocol, "answer")
			if len(out.Points) != 1 {
				t.Errorf("%d points in place of one: %v", len(out.Points), out.Points)
			}
			for point := range out.Points {
				if point.Series != sent || point.Value != "42" {
					t.Errorf("got %+v, want %s to be 42", point, sent)
				}
			}
		})
	}
}
