// Package catalog is what a server says at once of what it has: labels, metadata, segments
// and the state of its logs.
//
// Guaranteed: a caller is told of what it may see alone; an answer is as of one position
// of each log, takes its turn, and says when it is cut off.
package catalog

import (
	"context"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

// Catalog is that of one server.
type Catalog struct {
	Calls       *call.Calls
	Replicas    *replica.Set
	Evaluations *selection.Evaluations
	Lookups     *limit.Budget // turns
	// LiveSince is when a series has to have been written to be live now, in ms.
	LiveSince func() int64
	// Upstream is the address of a relay's upstream, "" if there is none.
	Upstream func() string
	// Bucket is how the server gets on with it, nil if there is none.
	Bucket func() *metricsv1.BucketStatus
}

// turn waits until a call may read what this server has. The turn has to be ended.
func (c *Catalog) turn(ctx context.Context, from call.Caller) (end func(), err error) {
	turn := c.Lookups.Hold(from.Peer)
	if err := turn.Wait(ctx, 1); err != nil {
		return nil, err
	}
	return turn.Release, nil
}
