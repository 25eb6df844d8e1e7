package forwarder

import (
	"github.com/promgrpc/exporter/internal/buffer"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/link"
)

// room is what requests may take up at a time. One half is for those that are
// being read, and one for those that are being decoded, appended and answered:
// a request waits for the second with the first in its hands, so those that have
// been read could not be decoded if they could take all there is.
type room struct {
	reading, working *limit.Budget
}

func newRoom(c *LimitConfig) room {
	half := int64(c.InflightBytes) / 2
	of := func(largest int64) *limit.Budget {
		share := max(half*int64(c.PeerShare)/100, largest)
		return limit.NewBudget(flagInflightBytes, "bytes", half, share)
	}
	return room{reading: of(c.largestFrame()), working: of(c.largestWork())}
}

// used is how much of it is taken.
func (r room) used() int64 { return r.reading.Used() + r.working.Used() }

// leastWork is what a request takes at least, and what is kept of it until its
// verdict has been sent: as much as a verdict may be.
const leastWork = link.MaxSmall

// largestFrame is what a request takes while it is read.
func (c *LimitConfig) largestFrame() int64 { return int64(buffer.Size(c.maxFrame())) }

func (c *LimitConfig) maxFrame() int { return max(int(c.RequestBytes)+link.FrameRoom, link.MaxSmall) }

// largestWork is what one takes afterwards.
func (c *LimitConfig) largestWork() int64 { return max(int64(c.Limits.DecodedBytes), leastWork) }
