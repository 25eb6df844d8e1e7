package daemon

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInstance(t *testing.T) {
	require.Equal(t, "a", Instance("a"))
	host, err := os.Hostname()
	require.NoError(t, err)
	require.NotEmpty(t, host)
	require.Equal(t, host, Instance(""))
}
