package cli

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
)

// TestCompletion has the shells that are installed read their scripts.
func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := runCLI(t, t.Context(), "completion", shell)
		require.Equal(t, ExitOK, r.code, r.stderr)
		require.Contains(t, r.stdout, "--completion-bash")
		binary, err := exec.LookPath(shell)
		if err != nil {
			continue // it is not a part of this project
		}
		check := exec.Command(binary, "-n")
		check.Stdin = strings.NewReader(r.stdout)
		out, err := check.CombinedOutput()
		require.NoError(t, err, string(out))
	}
	require.Equal(t, ExitUsage, runCLI(t, t.Context(), "completion", "tcsh").code)
}

func TestHints(t *testing.T) {
	server := snapshot()
	server.LabelValues = &metricsv1.GetLabelValuesResponse{Values: []string{
		"http_requests_total", "up", "dotted.name", "$(touch file)", "`touch file`", "a;b", "a b", "-x", "a\nb", "\x1b[2J", "",
	}}
	t.Setenv("PROMGRPC_CLIENT_ADDRESS", server.Start(t))
	require.Equal(t, []string{"http_requests_total", "up", "dotted.name"}, metricNames())
	t.Setenv("PROMGRPC_CLIENT_ADDRESS", "127.0.0.1:1")
	require.Empty(t, metricNames())
}

func TestManual(t *testing.T) {
	for _, format := range []string{"man", "markdown"} {
		r := runCLI(t, t.Context(), "manual", "--format", format)
		require.Equal(t, ExitOK, r.code, r.stderr)
		for _, word := range []string{"cursor", "PROMGRPC_CLIENT_TLS_CA_FILE", "inspect", "completion"} {
			require.Contains(t, r.stdout, word)
		}
		require.NotContains(t, r.stdout, "completion-bash", "flags that are not for people")
	}
}
