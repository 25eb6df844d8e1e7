package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/daemon"
)

func TestLinkBytesHoldAPiece(t *testing.T) {
	c := DefaultConfig()
	require.NoError(t, c.check())
	c.LinkBytes = maxLinkFrame - 1
	var usage *daemon.UsageError
	require.ErrorAs(t, c.check(), &usage)
	require.ErrorContains(t, usage, flagLinkBytes)
	c.LinkBytes, c.PeerShare = maxLinkFrame, 1
	require.NoError(t, c.check())
	require.EqualValues(t, maxLinkFrame, newLinkRoom(int64(c.LinkBytes), c.PeerShare).Share(), "one piece at least")
}
