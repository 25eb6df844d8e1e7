package feed

import (
	"context"

	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/server/replica"
)

// sendBack sends a forwarder what this server has of its log after a block: the
// forwarder has lost it, and other servers may never have had it.
func (f *Feed) sendBack(ctx context.Context, c *link.Conn, r *replica.Replica, after uint64) error {
	hold := f.sentBack.Hold(c.Peer())
	defer hold.Release()
	last := r.Log.Last()
	return logship.Send(ctx, r.Log, after, logship.Frames{Conn: c}, logship.Options{
		More:    func(after uint64) bool { return after < last },
		Reserve: hold.Resize,
	})
}
