package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/promgrpc/exporter/e2e/harness"
)

const runbooks = "docs/runbooks.md"

// runbook runs the commands of a section, each as a shell of its own.
func runbook(t *testing.T, section string, env []string) {
	t.Helper()
	text, err := os.ReadFile(harness.File(runbooks))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut("\n"+string(text), "# "+section+"\n")
	own, _, _ := strings.Cut(rest, "\n## ")
	blocks := fence.FindAllStringSubmatch(own, -1)
	if !found || len(blocks) == 0 {
		t.Fatalf("%s has no commands under %q", runbooks, section)
	}
	replace := strings.NewReplacer("127.0.0.1:18090", harness.Address(t, harness.Host()), "127.0.0.1:18091", harness.Address(t, harness.Host())).Replace
	path := "PATH=" + filepath.Dir(harness.Binary(t, "prometheus-grpc-client")) + ":" + os.Getenv("PATH")
	for _, block := range blocks {
		p := harness.StartEnv(t, section, append([]string{path}, env...), "bash", "-euo", "pipefail", "-c",
			"trap 'kill $(jobs -p) || true' EXIT\n"+replace(block[2]))
		if code := p.Wait(time.Minute); code != 0 {
			t.Errorf("%s ended with the code %d:\n%s\n%s%s", section, code, block[2], p.Stdout().String(), p.Stderr().String())
		}
	}
}
