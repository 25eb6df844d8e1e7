package server

import (
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/link"
)

// flagLinkBytes limits what is on its way from forwarders.
const flagLinkBytes = "--limit.link-bytes"

// maxLinkFrame is what the largest frame that a forwarder sends takes.
const maxLinkFrame = maxPiece + link.FrameRoom

// newLinkRoom shares out what is on its way from forwarders, so many percent to each.
// Each has room for one piece at least, or its log could not go on.
func newLinkRoom(total int64, percent int) *limit.Budget {
	return limit.NewBudget(flagLinkBytes, "bytes", total, max(total*int64(percent)/100, maxLinkFrame))
}
