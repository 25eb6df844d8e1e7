package catalog

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/cursor"
	"github.com/promgrpc/exporter/server/call"
)

// GetStatus adds to the state of the process that of its logs.
func (c *Catalog) GetStatus(_ context.Context, from call.Caller, _ *metricsv1.GetStatusRequest, res *metricsv1.GetStatusResponse) error {
	res.Upstream, res.Bucket = c.Upstream(), c.Bucket()
	res.Group, res.PlacementVersion = c.Replicas.Belongs()
	var present cursor.Cursor
	for _, r := range c.Replicas.All() {
		status := &metricsv1.LogStatus{
			LogId:            r.ID.String(),
			FirstSequence:    r.Log.First(),
			LastSequence:     r.Log.Last(),
			Connected:        r.Connected(),
			LagBlocks:        r.Lag(),
			Series:           uint64(r.Head.Len()),
			SizeBytes:        r.Log.LocalSize(),
			DurableSequence:  r.Durable(),
			ArchivedSequence: r.Archived(),
			Owners:           r.Owners(),
		}
		status.Group, status.PlacementVersion = r.Belongs()
		if received := r.LastReceived(); !received.IsZero() {
			status.ReceiveTime = timestamppb.New(received)
		}
		res.Logs = append(res.Logs, status)
		if r.Serving() {
			res.LiveSeries += r.CountLive(c.LiveSince())
			present.Positions = append(present.Positions, cursor.Position{Log: r.ID, Sequence: status.GetLastSequence()})
		}
	}
	if len(present.Positions) > 0 {
		res.Cursor = from.Rights.Cursor(&present)
	}
	return nil
}
