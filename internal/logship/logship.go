// Package logship brings the bytes of a log from one process to another, as they
// lie in its segments.
//
//	Log ──Send──▶ Sink ──▶ frames of a link ──Deliver──▶ Sink ──▶ Mirror
//	              Sink ──▶ responses of ReadLogs ──────▶ Sink ──▶ Mirror
//
// Guaranteed: a sink gets whole frames of the log, in order and without a hole,
// but for the gaps that it is told of. The bytes are those of the files.
//
// Not guaranteed: that what a sink took is where it was sent. Both ends compare
// their positions when they meet, and go on after what the receiving one has.
package logship

import (
	"context"
	"errors"
	"fmt"

	"github.com/promgrpc/exporter/internal/seglog"
)

// Sink takes a log, piece by piece. An error ends the shipping.
type Sink interface {
	// StartSegment says that the next piece is the first of a segment.
	StartSegment(name string, firstSequence uint64) error
	// Append takes whole frames at an offset of the segment. They are valid until
	// it returns.
	Append(offset uint64, data []byte) error
	// Gap says that the blocks between two are not kept any more. A segment starts
	// after it.
	Gap(gap *seglog.GapError) error
}

// Options of shipping.
type Options struct {
	// More is asked before each piece with the last block that was shipped. Shipping
	// ends without an error when it says no. Nil: there is always more.
	More func(after uint64) bool
	// Local starts with the oldest block on the disk, whatever is kept before it.
	Local bool
	// Reserve is that of the [seglog.RawReader]. Nil: without bound.
	Reserve func(bytes int64) error
	// Awaited is that of the [seglog.RawReader]. Nil: nobody waits.
	Awaited func() bool
}

// Send gives a sink what follows a block of a log. At the end of the log it waits
// for more.
func Send(ctx context.Context, l *seglog.Log, after uint64, to Sink, o Options) error {
	raw, err := open(ctx, l, after, o)
	if err != nil {
		return fmt.Errorf("read log %s: %w", l.ID(), err)
	}
	defer raw.Close()
	raw.Reserve, raw.Awaited = o.Reserve, o.Awaited
	for o.More == nil || o.More(after) {
		chunk, err := raw.Next(ctx)
		var gap *seglog.GapError
		switch {
		case errors.As(err, &gap):
			after, err = gap.Next-1, to.Gap(gap)
		case err == nil:
			after, err = chunk.LastSequence, give(to, &chunk)
		case ctx.Err() == nil:
			err = fmt.Errorf("read log %s: %w", l.ID(), err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func open(ctx context.Context, l *seglog.Log, after uint64, o Options) (*seglog.RawReader, error) {
	if o.Local {
		return l.ReadRawLocal(ctx)
	}
	return l.ReadRaw(ctx, after)
}

func give(to Sink, chunk *seglog.RawChunk) error {
	if chunk.Start {
		if err := to.StartSegment(chunk.SegmentName, chunk.FirstSequence); err != nil {
			return err
		}
	}
	return to.Append(chunk.Offset, chunk.Data)
}
