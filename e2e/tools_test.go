package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
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

// TestTools calls the API with what people have at hand.
func TestTools(t *testing.T) {
	t.Parallel()
	cluster := harness.NewCluster(t, harness.Options{Servers: 1})
	sent := harness.Series(map[string]string{"__name__": "answer", "job": "tools"})
	write(t, cluster, series(map[string]string{"__name__": "answer", "job": "tools"}, 42))
	awaitSeries(t, cluster, `answer`, 1)
	address := cluster.RPC(0)

	t.Run("grpcurl", func(t *testing.T) {
		grpcurl := harness.Tool(t, "grpcurl")
		contains(t, run(t, nil, grpcurl, "-plaintext", address, "list"), service, "grpc.health.v1.Health")
		contains(t, run(t, nil, grpcurl, "-plaintext", address, "describe", service), "rpc GetMetrics", "stream .promgrpc.metrics.v1.GetMetricsResponse")
		contains(t, run(t, nil, grpcurl, "-plaintext", address, "grpc.health.v1.Health/Check"), "SERVING")
		out := run(t, nil, grpcurl, "-plaintext", "-d", `{"selectors":["answer"]}`, address, service+"/GetMetrics")
		contains(t, out, `"value": 42`, `"tools"`, `"end": {}`)
	})

	t.Run("curl unary", func(t *testing.T) {
		out := run(t, nil, "curl", "-sS", "--fail-with-body", "--http1.1",
			"-H", "Content-Type: application/json", "-d", "{}", "http://"+address+"/"+service+"/GetStatus")
		contains(t, out, `"ready":true`, `"cursor":"`)
	})

	// A Connect stream is a sequence of messages, each after a byte of flags and
	// four of length; so is its request. The same in a shell:
	//	printf '\0\0\0\0\2{}' | curl -H 'Content-Type: application/connect+json' --data-binary @- …
	t.Run("curl stream", func(t *testing.T) {
		out := run(t, envelope(`{"selectors":["answer"]}`), "curl", "-sS", "--fail-with-body", "--http1.1",
			"-H", "Content-Type: application/connect+json", "--data-binary", "@-", "http://"+address+"/"+service+"/GetMetrics")
		var text []byte
		for len(out) >= 5 {
			size := binary.BigEndian.Uint32(out[1:5])
			if int(size) > len(out)-5 {
				t.Fatalf("an envelope of %d bytes, of which %d came", size, len(out)-5)
			}
			message := out[5 : 5+size]
			if !json.Valid(message) {
				t.Errorf("not JSON: %s", message)
			}
			text = fmt.Appendf(text, "%d %s\n", out[0], message)
			out = out[5+size:]
		}
		// A flag of 2 marks the end of the stream; an error would be in it.
		contains(t, text, `"value":42`, `"end":{}`, "\n2 {}\n")
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

func envelope(message string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}
