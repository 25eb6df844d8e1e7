package feed

import (
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/link"
)

// FlagLinkBytes limits what is on its way from forwarders.
const FlagLinkBytes = "--limit.link-bytes"

// MaxLinkFrame is what the largest frame that a forwarder sends takes.
const MaxLinkFrame = maxPiece + link.FrameRoom

// NewLinkRoom returns the budget of what is on its way from forwarders, of which each
// may hold so many percent, and one piece at least, or its log would stop.
func NewLinkRoom(total int64, percent int) *limit.Budget {
	return limit.NewBudget(FlagLinkBytes, "bytes", total, max(total*int64(percent)/100, MaxLinkFrame))
}
