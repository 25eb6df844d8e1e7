//go:build debian

package harness

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// python is Debian's, which has the packages that clients/python needs.
const python = "/usr/bin/python3"

// Python returns the interpreter and the environment that programs of
// clients/python need. Without its packages the test fails.
func Python(t testing.TB) (program string, env []string) {
	t.Helper()
	if out, err := exec.Command(python, "-c", "import grpc").CombinedOutput(); err != nil {
		t.Fatalf("%s with gRPC is needed: run `make tools-debian` (%v)\n%s", python, err, out)
	}
	folder := File("clients/python")
	return python, []string{"PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=" + folder + ":" + filepath.Join(folder, "gen")}
}
