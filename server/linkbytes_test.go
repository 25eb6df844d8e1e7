package server

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/usage"
	"github.com/promgrpc/exporter/server/feed"
)

func TestLinkBytesHoldAPiece(t *testing.T) {
	c := DefaultConfig()
	require.NoError(t, c.check())
	c.LinkBytes = feed.MaxLinkFrame - 1
	var mistake *usage.Error
	require.ErrorAs(t, c.check(), &mistake)
	require.ErrorContains(t, mistake, feed.FlagLinkBytes)
	c.LinkBytes, c.PeerShare = feed.MaxLinkFrame, 1
	require.NoError(t, c.check())
	require.EqualValues(t, feed.MaxLinkFrame, feed.NewLinkRoom(int64(c.LinkBytes), c.PeerShare).Share(), "one piece at least")
}
