package feed

import (
	"context"
	"errors"
	"fmt"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/replica"
)

// giveBack sends a forwarder what this server has of a log behind a block: the
// forwarder has lost it, and other servers may never have had it.
func (f *Feed) giveBack(ctx context.Context, c *link.Conn, r *replica.Replica, after uint64) error {
	raw, err := r.Log.ReadRaw(after)
	if err != nil {
		return fmt.Errorf("read log %s: %w", r.ID, err)
	}
	defer raw.Close()
	hold := f.given.Hold(c.Peer())
	defer hold.Release()
	raw.Reserve = hold.Resize
	for until := r.Log.Last(); after < until; {
		chunk, err := raw.Next(ctx)
		var gap *seglog.GapError
		switch {
		case errors.As(err, &gap):
			after = gap.Next - 1
			err = c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Gap{Gap: &linkv1.Gap{AfterSequence: gap.After, NextSequence: gap.Next}}})
		case err != nil:
			err = fmt.Errorf("read log %s: %w", r.ID, err)
		default:
			after = chunk.LastSequence
			err = sendChunk(c, &chunk)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func sendChunk(c *link.Conn, chunk *seglog.RawChunk) error {
	var frames []*linkv1.Frame
	if chunk.Start {
		start := &linkv1.SegmentStart{Name: chunk.SegmentName, FirstSequence: chunk.FirstSequence}
		frames = append(frames, &linkv1.Frame{Kind: &linkv1.Frame_Segment{Segment: start}})
	}
	data := &linkv1.SegmentAppend{Offset: chunk.Offset, Data: chunk.Data}
	return c.Send(append(frames, &linkv1.Frame{Kind: &linkv1.Frame_Append{Append: data}})...)
}
