package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestFullOutput has every command write to a disk that is full.
func TestFullOutput(t *testing.T) {
	server := hostile(nil)
	t.Setenv("PROMGRPC_CLIENT_ADDRESS", server.Start(t))
	file := filepath.Join(t.TempDir(), "a.seg")
	require.NoError(t, os.WriteFile(file, segmentBytes(t), 0o600))
	for _, args := range [][]string{
		{"--help"}, {"get", "--help"}, {"help"}, {"--version"}, {"completion", "bash"}, {"manual"}, {"manual", "--format=markdown"},
		{"get"}, {"get", "-o", "json"}, {"get", "-o", "csv"}, {"get", "-o", "table"}, {"get", "-o", "openmetrics"}, {"get", "-o", "proto"},
		{"labels"}, {"labels", "job", "-o", "json"}, {"metadata"}, {"segments"}, {"status"}, {"inspect", file}, {"inspect", file, "-o", "json"},
	} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		require.NoError(t, err)
		var stderr buffer
		code := run(t.Context(), args, environment{stdout: full, output: full, stderr: &stderr})
		require.Equal(t, ExitFailure, code, strings.Join(args, " "))
		require.Contains(t, stderr.String(), "no space left on device", strings.Join(args, " "))
		require.NoError(t, full.Close())
	}
}

// TestCursorOfOutputThatIsNotStored has a file as output that cannot be made durable:
// after a power cut a cursor would be ahead of it.
func TestCursorOfOutputThatIsNotStored(t *testing.T) {
	folder := t.TempDir()
	out, cursor := filepath.Join(folder, "out"), filepath.Join(folder, "cursor")
	writeFile(t, out, "")
	file, err := os.OpenFile(out, unix.O_PATH, 0) // fsync fails on it
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	writeFile(t, cursor, cursorRecord("c0"))
	var stdout, stderr buffer
	code := run(t.Context(), []string{"get", "--address", snapshot().Start(t), "--cursor-file", cursor},
		environment{stdout: &stdout, output: file, stderr: &stderr})
	require.NotEmpty(t, stdout.String())
	require.Equal(t, ExitFailure, code)
	require.Contains(t, stderr.String(), "error: standard output: sync "+out)
	require.Equal(t, cursorRecord("c0"), content(t, cursor))
}
