package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// binaries is the folder of the project's binaries, set by Main.
var binaries string

// Main builds the project's binaries, unless EXPORTER_BIN names a folder that
// has them, and runs the tests. It returns the exit code.
func Main(m *testing.M) int {
	if binaries = os.Getenv("EXPORTER_BIN"); binaries != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "exporter-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	build := exec.Command("go", "build", "-o", dir+"/", "./cmd/...")
	build.Dir = root()
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the binaries:", err)
		return 1
	}
	binaries = dir
	return m.Run()
}

// root of the repository.
func root() string {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	panic("the tests do not run inside the repository")
}

// Binary returns the path of one of the project's binaries.
func Binary(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(binaries, name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("binary %s: %v", name, err)
	}
	return path
}

// Tool returns the path of a real program: what the environment variable of
// the name says (upper case), or else what `make tools` left in .tools. Without
// it the test fails.
func Tool(t testing.TB, name string) string {
	t.Helper()
	variable := strings.ToUpper(name)
	path := os.Getenv(variable)
	if path == "" {
		path = filepath.Join(root(), ".tools", name)
	} else if !filepath.IsAbs(path) {
		path = filepath.Join(root(), path)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is needed: run `make tools tools-debian`, or set %s to its path (%v)", name, variable, err)
	}
	return path
}

// File is a path of the repository.
func File(name string) string { return filepath.Join(root(), filepath.FromSlash(name)) }
