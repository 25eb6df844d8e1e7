// Package api_test checks the guard that keeps the API compatible.
package api_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBreakingChangeIsRefused(t *testing.T) {
	tests := map[string]struct {
		file     string
		old, new string // a regular expression, and what takes its place
		want     string // what buf says; empty if the change is allowed
	}{
		"unchanged": {
			file: "metrics/v1/metrics_service.proto",
			old:  `rpc GetStatus`,
			new:  `rpc GetStatus`,
		},
		"added field": {
			file: "metrics/v1/metrics.proto",
			old:  `(?s)(message Label \{.*?)\n\}`,
			new:  "$1\n  // added is new.\n  string added = 100;\n}",
		},
		"deleted RPC": {
			file: "metrics/v1/metrics_service.proto",
			old:  `(?s)  rpc GetStatus\(.*?\n  \}\n`,
			want: `Previously present RPC "GetStatus" on service "MetricsService" was deleted.`,
		},
		"renumbered field": {
			file: "metrics/v1/metrics.proto",
			old:  `(?s)(message TimeSeries \{.*?labels) = 1;`,
			new:  `$1 = 101;`,
			want: `Previously present field "1" with name "labels" on message "TimeSeries" was deleted`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			require.NoError(t, os.CopyFS(filepath.Join(root, "api"), os.DirFS(".")))
			require.NoError(t, os.CopyFS(filepath.Join(root, "third_party"), os.DirFS("../third_party")))
			config, err := os.ReadFile("../buf.yaml")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(root, "buf.yaml"), config, 0o600))

			file := filepath.Join(root, "api", "promgrpc", test.file)
			proto, err := os.ReadFile(file)
			require.NoError(t, err)
			old := regexp.MustCompile(test.old)
			require.Len(t, old.FindAllIndex(proto, -1), 1, "%s in %s", test.old, test.file)
			require.NoError(t, os.WriteFile(file, old.ReplaceAll(proto, []byte(test.new)), 0o600))

			said, compatible := breaking(t, root)
			assert.Equal(t, test.want == "", compatible, said)
			assert.Contains(t, said, test.want)
		})
	}
}

// breaking compares the API in root with the released one, as make lint does.
// It returns what buf printed, and whether it found the API compatible.
func breaking(t *testing.T, root string) (said string, compatible bool) {
	t.Helper()
	command := exec.CommandContext(t.Context(), bufPath(t), "breaking", "api", "--against", "api/released.binpb")
	command.Dir = root
	output, err := command.CombinedOutput()
	// 100 says that rules were broken, other codes that buf could not check them.
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 100 {
		return string(output), false
	}
	require.NoError(t, err, "%s", output)
	return string(output), true
}

// bufPath returns the buf that make built, or builds it.
func bufPath(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("BUF"); path != "" {
		return path
	}
	path, err := exec.CommandContext(t.Context(), "go", "tool", "-n", "-modfile=../tools/buf.mod", "buf").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(path))
}
