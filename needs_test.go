package exporter_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is missing on a machine is said all at once, with one line to run.
func TestWhatIsMissingIsSaidAtOnce(t *testing.T) {
	path := t.TempDir() // a machine with nothing on it
	for _, name := range []string{"bash", "id"} {
		program, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(program, filepath.Join(path, name)))
	}
	_, err := os.ReadFile("tools/require.sh") // so that go test knows of it
	require.NoError(t, err)
	command := exec.CommandContext(t.Context(), filepath.Join(path, "bash"), "tools/require.sh", "bash", "go", "cc", "node", "curl", "kcat")
	command.Env = []string{"PATH=" + path}
	said, err := command.CombinedOutput()
	require.ErrorContains(t, err, "exit status 1", "%s", said)
	text := string(said)
	for _, part := range []string{"missing: Go,", "missing: Node 20"} {
		assert.Contains(t, text, part)
	}
	assert.Contains(t, text, "apt-get install -y --no-install-recommends gcc libc6-dev curl ca-certificates kcat'\n")
	assert.Equal(t, 1, strings.Count(text, "apt-get install"), text)
	assert.NotContains(t, text, "bash")
}

// make says what a goal needs before it does anything else, and `make test` needs
// a C compiler beside Go and make.
func TestNeedsComeFirst(t *testing.T) {
	_, err := os.ReadFile("Makefile") // so that go test knows of it
	require.NoError(t, err)
	for goals, needs := range map[string]string{
		"install all":   "apt-get node",
		"test":          "cc",
		"test-unit":     "cc",
		"test-e2e":      "",
		"run":           "perl",
		"release":       "dpkg-deb gzip tar xz",
		"test-release":  "dpkg-deb git gzip lintian systemd-analyze tar xz",
		"test test-all": "apt-get cc chromium curl docker fonts kcat mkfs.ext4 mount node python-grpc root ruby-grpc unshare",
	} {
		command := exec.CommandContext(t.Context(), "make", append([]string{"--dry-run", "--no-print-directory", "DISKS=-disks"}, strings.Fields(goals)...)...)
		command.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
		printed, err := command.CombinedOutput()
		require.NoError(t, err, "%s", printed)
		first, rest, _ := strings.Cut(string(printed), "\n")
		assert.Equal(t, strings.TrimSpace("tools/require.sh go "+needs), strings.TrimSpace(first), goals)
		assert.NotContains(t, rest, "tools/require.sh", goals)
		assert.Equal(t, strings.Contains(goals, "test-all"), strings.Contains(rest, "-tags debian"), goals)
		// Nothing is tested twice.
		assert.LessOrEqual(t, strings.Count(rest, "./e2e/...\n"), 1, goals)
	}
}
