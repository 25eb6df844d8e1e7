package limit

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConnections(t *testing.T) {
	require.Equal(t, 4096, connections(4096, math.MaxUint64))
	require.Equal(t, 4096, connections(4096, 4*4096))
	require.Equal(t, 256, connections(4096, 1024))
	require.Equal(t, 1, connections(4096, 0))
	require.Positive(t, Connections(1))
}
