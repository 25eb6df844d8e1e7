package server

import (
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/link"
)

const flagLinkBytes = "--limit.link-bytes"

// maxLinkFrame is what the largest frame that a forwarder sends takes.
const maxLinkFrame = maxPiece + link.FrameRoom

// linkRoom shares out what is on its way from forwarders. Each has room for one
// piece at least, or its log could not go on.
func (c *Config) linkRoom() *limit.Budget {
	share := max(int64(c.LinkBytes)*int64(c.PeerShare)/100, maxLinkFrame)
	return limit.NewBudget(flagLinkBytes, "bytes", int64(c.LinkBytes), share)
}
