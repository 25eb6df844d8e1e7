package forwarder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/internal/seglog"
)

// errExpired says that all of a log has been deleted by retention.
var errExpired = errors.New("nothing is kept of the log any more")

// shipEnded ships every log that has ended, until ctx ends.
func (s *shipper) shipEnded(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	running := map[*endedLog]bool{}
	for {
		logs, changed := s.ended.watch()
		for _, l := range logs {
			if !running[l] {
				running[l] = true
				wg.Go(func() {
					s.run(ctx, func(ctx context.Context) error { return s.complete(ctx, l) })
					if ctx.Err() == nil {
						s.ended.expire(l)
					}
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

// complete ships what the server lacks of a log that has ended. Before that it fetches
// what the server has and this forwarder lacks: other servers may lack it, too.
func (s *shipper) complete(ctx context.Context, ended *endedLog) error {
	l := ended.log()
	if len(l.Segments()) == 0 && l.Last() > 0 {
		return errExpired
	}
	o := s.options
	o.MaxFrame, o.Room = link.DefaultMaxFrame, s.ended.room
	c, welcome, err := s.dial(ctx, l, true, o)
	if err != nil {
		return err
	}
	defer c.Close()
	position := welcome.GetPosition()
	if sequence := position.GetSequence(); sequence > l.Last() {
		s.logger.Warn("server has what this forwarder has lost, fetching it", "log_id", l.ID().String(), "last_sequence", l.Last(), "server_sequence", sequence)
		said, err := s.fetch(ctx, c, ended, sequence)
		if err != nil {
			return s.refuse(c, err)
		}
		if said != nil { // What it has forced to its disk meanwhile is not told again.
			position.Durable = said.GetDurable()
		}
		l = ended.log() // It may have been opened again for another server.
	}
	after, err := startAfter(ctx, l, position)
	if err != nil {
		return s.refuse(c, err)
	}
	s.logger.Debug("server connected for a log that has ended", "log_id", l.ID().String(), "after_sequence", after)
	joined := s.join(l, welcome)
	defer joined.leave()
	return s.ship(ctx, c, l, after, nil, joined, joined.confirm)
}

// fetchTurn is how long a server may take at a time to send what is lost here. Another may
// be waiting for its turn, and what one claims it may not have.
const fetchTurn = time.Minute

// fetch gets from the server the blocks that are lost here, up to a sequence, or as many
// as it sends in its turn. What does not continue the log is refused. It returns the last
// position that the server confirmed meanwhile, nil if it did not.
func (s *shipper) fetch(ctx context.Context, c *link.Conn, ended *endedLog, until uint64) (said *linkv1.Position, err error) {
	ended.fetching.Lock()
	defer ended.fetching.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.ended.turn)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	files := ended.files()
	after := files.Log().Last()
	if after >= until {
		return nil, nil
	}
	if err := c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Fetch{Fetch: &linkv1.Fetch{AfterSequence: after}}}); err != nil {
		return nil, err
	}
	for files.Log().Last() < until {
		f, err := c.Receive()
		if err != nil {
			return nil, err
		}
		if k, ok := f.GetKind().(*linkv1.Frame_Position); ok {
			said = k.Position
			continue
		}
		switch err := logship.Deliver(f, fetched{files, s.logger}); {
		case errors.Is(err, seglog.ErrMismatch):
			id := files.Log().ID()
			return nil, &logship.DivergedError{Log: id, Reason: fmt.Sprintf("what the server has of log %s after block %d: %v", id, after, err)}
		case errors.Is(err, seglog.ErrBroken):
			return nil, errors.Join(err, ended.reopen())
		case err != nil:
			return nil, err
		}
	}
	s.metrics.fetched.Add(float64(files.Log().Last() - after))
	s.logger.Info("fetched what this forwarder had lost", "log_id", files.Log().ID().String(), "after_sequence", after, "last_sequence", files.Log().Last())
	return said, nil
}

// fetched is the sink for what a server sends of a log that this forwarder lost.
type fetched struct {
	*seglog.Mirror
	logger *slog.Logger
}

// Gap implements [logship.Sink].
func (f fetched) Gap(gap *seglog.GapError) error {
	f.logger.Warn("the server does not keep all that this forwarder has lost", "after_sequence", gap.After, "next_sequence", gap.Next)
	return nil
}

// newFetchRoom is room for one piece of a log at a time.
func newFetchRoom() *limit.Budget {
	return limit.NewBudget("", "bytes", link.DefaultMaxFrame, link.DefaultMaxFrame)
}
