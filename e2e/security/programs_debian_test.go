//go:build debian

package security

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/e2e/harness"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1connect"
)

// TestDebianGetsIn is TestWhoGetsIn of the example in clients/python, and of curl.
func TestDebianGetsIn(t *testing.T) {
	t.Parallel()
	tab := readTable(t, "the port asks for", "the caller has")
	certs := newAuthorities(t)
	interpreter, env := harness.Python(t)
	python := func(t *testing.T, address string, has holding) string {
		p := harness.StartEnv(t, "python", env, interpreter, append([]string{harness.File("clients/python/follow.py"), "matrix", "--address=" + address}, has.flags()...)...)
		return ofClient(p.Wait(patience), p.Stdout().Bytes(), p.Stderr().Bytes())
	}
	programs := map[string]program{"Python": python, "curl, HTTP/1.1": curl("--http1.1", "--http1.1"), "curl, HTTP/2": curl("--http2-prior-knowledge", "--http2")}
	for _, asks := range regimes {
		t.Run(asks.name, func(t *testing.T) {
			t.Parallel()
			d := newDeployment(t, asks, certs)
			for _, r := range tab.of(asks.name) {
				d.run(t, r, programs)
			}
		})
	}
}

// curl asks for names by Connect, without TLS and with it.
func curl(cleartext, encrypted string) program {
	return func(t *testing.T, address string, has holding) string {
		binary, err := exec.LookPath("curl")
		require.NoError(t, err, "curl is needed")
		args, scheme := []string{"-sS", "-m", "60", "-w", "\n%{http_code}", "-H", "Content-Type: application/json", "-d", `{"name":"__name__"}`}, "http://"
		if has.ca == "" {
			args = append(args, cleartext)
		} else {
			args, scheme = append(args, encrypted, "--cacert", has.ca), "https://"
		}
		if has.cert != "" {
			args = append(args, "--cert", has.cert, "--key", has.key)
		}
		if header := has.authorization(t); header != "" {
			args = append(args, "-H", "Authorization: "+header)
		}
		code, stdout, stderr := harness.Run(t, binary, append(args, scheme+address+metricsv1connect.MetricsServiceGetLabelValuesProcedure)...)
		body, status, _ := strings.Cut(string(stdout), "\n")
		switch {
		case code == 0 && status == "200" && strings.Contains(body, "matrix"):
			return yes
		case code == 0 && (status == "401" || status == "403"):
			return status
		case status == "000" || strings.HasPrefix(body, plainToTLS):
			return noConnection
		}
		return fmt.Sprintf("exit code %d: %s%s", code, stdout, stderr)
	}
}
