package promapi

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The version is that of the Prometheus whose engine is linked: 3.15.0 is the module's
// 0.315.0.
func TestCompatible(t *testing.T) {
	text, err := os.ReadFile("../../go.mod")
	require.NoError(t, err)
	major, rest, _ := strings.Cut(compatible, ".")
	require.Contains(t, string(text), "github.com/prometheus/prometheus v0."+major+rest)
}
