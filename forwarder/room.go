package forwarder

import (
	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/buffer"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/link"
)

// room is the memory for requests under way. One half is for those that are being read,
// the other for those that are being decoded, appended and answered. A request holds the
// first while it waits for the second: with a single budget, those that have been read
// could take all of it and none could be decoded.
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
func (c *LimitConfig) largestWork() int64 { return max(2*int64(c.Limits.DecodedBytes), leastWork) }

// How many times its decoded body an ordinary request takes. One of 2.0 says in some
// bytes what one of 1.0 spells out, and both take the same memory.
const (
	usualV1 = 4
	usualV2 = 8
)

// usual is the room that a request waits for before it is decoded. One that needs more
// asks for it and is refused rather than wait, since all that are being decoded may need
// more. What it does not need is given back.
func (in *ingest) usual(schema linkv1.Schema, decoded int) int64 {
	times := int64(usualV1)
	if schema == linkv1.Schema_SCHEMA_WRITE_V2 {
		times = usualV2
	}
	return min(max(times*int64(decoded), leastWork), in.room.Share())
}
