package replica

import (
	"context"
	"errors"
	"sync"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/postings"
	"github.com/promgrpc/exporter/server/window"
)

// When a log is opened, the blocks of its newest segment are applied to its window, as to
// the rest of the state. Those before it, as far as they are recent, are read afterwards,
// of one log at a time.

// observer is told of the head's series.
type observer struct {
	*postings.Index
	window *window.Window
}

// SeriesDropped implements [head.Observer].
func (o observer) SeriesDropped(ref uint64) { o.window.SeriesDropped(ref) }

// windowMisses tells the window of a log that was just opened what is in the segments that
// were not applied to it.
func (r *Replica) windowMisses() {
	segments := r.Log.Segments()
	for i := range len(segments) - 1 {
		r.Window.MissesUntil(segments[i].MaxTime)
	}
}

// filling is the reading of what a window misses.
type filling struct {
	stop context.CancelFunc
	done sync.WaitGroup
}

// fill reads what the window misses, when it has its turn, until the replica is closed.
func (r *Replica) fill(turn chan struct{}) {
	ctx, stop := context.WithCancel(context.Background())
	r.filling.stop = stop
	r.filling.done.Go(func() {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return
		}
		defer func() { <-turn }()
		// Without it queries read what is missing from the disk.
		_ = r.fillWindow(ctx)
	})
}

func (r *Replica) fillWindow(ctx context.Context) error {
	newest, ok := r.Log.Newest()
	if !ok {
		return nil
	}
	oldest := r.Log.FirstLocal()
	past := r.Window.Past(r.Log.Last(), newest.CreateTime.UnixMilli())
	defer past.Close()
	reader, err := r.Log.ReadLocalSince(past.Since)
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }()
	reader.Wait = seglog.WaitFor(ctx)
	for first := true; ; first = false {
		b, err := nextBlock(ctx, reader)
		if err != nil {
			return err
		}
		if b == nil || b.Sequence >= past.Before {
			if first {
				past.Start(past.Before)
			}
			break
		}
		if first && b.Sequence > oldest {
			past.Start(b.Sequence)
		}
		past.ApplyBlock(b)
	}
	past.Adopt(r.headHas())
	return nil
}

// nextBlock returns the next block after gaps.
func nextBlock(ctx context.Context, reader *seglog.Reader) (*segment.Block, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b, err := reader.Next(ctx.Err)
		var gap *seglog.GapError
		if !errors.As(err, &gap) {
			return b, err
		}
	}
}

// headHas returns which series the head has.
func (r *Replica) headHas() func(ref uint64) bool {
	return func(ref uint64) bool {
		_, ok := r.Head.Latest(ref)
		return ok
	}
}

// close ends the reading of what the window misses, and closes the files.
func (r *Replica) close() error {
	if r.filling.stop != nil {
		r.filling.stop()
		r.filling.done.Wait()
	}
	r.Window.Close()
	return r.files.Close()
}
