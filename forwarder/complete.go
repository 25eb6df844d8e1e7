package forwarder

import (
	"context"
	"errors"
	"fmt"
	"sync"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
)

// errExpired says that all of a log has been deleted by retention.
var errExpired = errors.New("nothing is kept of the log any more")

// completeAll keeps the server supplied with every log that has ended, until ctx
// ends.
func (p *replica) completeAll(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	begun := map[*endedLog]bool{}
	for {
		logs, changed := p.ended.watch()
		for _, l := range logs {
			if !begun[l] {
				begun[l] = true
				running.Go(func() {
					p.run(ctx, func(ctx context.Context) error { return p.complete(ctx, l) })
				})
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// complete gives the server what it lacks of a log that has ended, after it has
// taken over what the server has and this forwarder lacks: others may lack it, too.
func (p *replica) complete(ctx context.Context, ended *endedLog) error {
	l := ended.log()
	if len(l.Segments()) == 0 && l.Last() > 0 {
		return errExpired
	}
	o := p.options
	o.MaxFrame, o.Room = link.DefaultMaxFrame, p.ended.room
	c, position, err := p.dial(ctx, l, true, o)
	if err != nil {
		return err
	}
	defer c.Close()
	if sequence := position.GetSequence(); sequence > l.Last() {
		p.logger.Warn("server has what this forwarder has lost, taking it over", "log_id", l.ID().String(), "last", l.Last(), "server", sequence)
		if err := p.takeOver(ctx, c, ended, sequence); err != nil {
			return refuse(c, err)
		}
		l = ended.log() // It may have been opened again for another server.
	}
	after, err := startOf(l, position)
	if err != nil {
		return refuse(c, err)
	}
	p.logger.Debug("server connected for a log that has ended", "log_id", l.ID().String(), "after", after)
	return p.supply(ctx, c, l, after, nil, func(uint64) {})
}

// takeOver takes over what the server has, up to a sequence. Nothing comes of
// what does not continue what is there.
func (p *replica) takeOver(ctx context.Context, c *link.Conn, ended *endedLog, until uint64) error {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	ended.taking.Lock()
	defer ended.taking.Unlock()
	files := ended.files()
	after := files.Log().Last()
	if after >= until {
		return nil
	}
	if err := c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Fetch{Fetch: &linkv1.Fetch{AfterSequence: after}}}); err != nil {
		return err
	}
	for files.Log().Last() < until {
		f, err := c.Receive()
		if err != nil {
			return err
		}
		switch err := p.takeFrame(files, f); {
		case errors.Is(err, seglog.ErrMismatch):
			id := files.Log().ID()
			return &divergedError{divergence{id, fmt.Sprintf("what the server has of log %s behind block %d: %v", id, after, err)}}
		case errors.Is(err, seglog.ErrBroken):
			return errors.Join(err, ended.reopen())
		case err != nil:
			return err
		}
	}
	p.metrics.takenOver.Add(float64(files.Log().Last() - after))
	p.logger.Info("took over what this forwarder had lost", "log_id", files.Log().ID().String(), "after", after, "last", files.Log().Last())
	return nil
}

func (p *replica) takeFrame(files *seglog.Mirror, f *linkv1.Frame) error {
	switch k := f.GetKind().(type) {
	case *linkv1.Frame_Segment:
		return files.StartSegment(k.Segment.GetName(), k.Segment.GetFirstSequence())
	case *linkv1.Frame_Append:
		return files.Append(k.Append.GetOffset(), k.Append.GetData())
	case *linkv1.Frame_Gap:
		p.logger.Warn("the server does not keep all that this forwarder has lost", "after", k.Gap.GetAfterSequence(), "next", k.Gap.GetNextSequence())
		return nil
	case *linkv1.Frame_Position:
		return nil
	}
	return fmt.Errorf("a server does not send frames of the kind %T", f.GetKind())
}

// newTakeOverRoom is room for one piece of a log at a time.
func newTakeOverRoom() *limit.Budget {
	return limit.NewBudget("", "bytes", link.DefaultMaxFrame, link.DefaultMaxFrame)
}
