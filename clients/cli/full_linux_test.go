package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
