//go:build debian

package security

import (
	"testing"

	"github.com/promgrpc/exporter/e2e/harness"
)

// TestPythonGetsIn is TestWhoGetsIn of the example in clients/python.
func TestPythonGetsIn(t *testing.T) {
	t.Parallel()
	tab := readTable(t, "the port asks for", "the caller has")
	certs := newAuthorities(t)
	interpreter, env := harness.Python(t)
	python := func(t *testing.T, args ...string) (int, []byte, []byte) {
		p := harness.StartEnv(t, "python", env, interpreter, append([]string{harness.File("clients/python/follow.py"), "matrix"}, args...)...)
		return p.Wait(patience), p.Stdout().Bytes(), p.Stderr().Bytes()
	}
	for _, asks := range regimes {
		t.Run(asks.name, func(t *testing.T) {
			t.Parallel()
			d := newDeployment(t, asks, certs)
			for _, r := range tab.of(asks.name) {
				d.run(t, r, map[string]program{"Python": python})
			}
		})
	}
}
