package forwarder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/promgrpc/exporter/forwarder/grouping"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/segment"
)

// placed says which group the log is of, and its newest placement. It belongs to the
// appender, but for stated and links, and outlives the states of the log: what it knows is in
// the log as soon as there is one.
type placed struct {
	grouping.Belonging
	stated  atomic.Pointer[stated]
	links   links
	metrics *placedMetrics
	logger  *slog.Logger
}

// stated is a placement that is in the log once a block is durable.
type stated struct {
	what segment.Placement
	in   place // of no log if the log was opened with it
	of   *state
}

func newPlaced(m *metrics, logger *slog.Logger) *placed {
	return &placed{links: links{open: map[*linked]struct{}{}}, metrics: m.placed, logger: logger}
}

// underWay is how far the timestamps of samples may be ahead of the time of the block that
// they came in, for an instant at which series move.
const underWay = 5 * time.Second

// greeting is what a receiver says in its hello, and where it is told what comes of it.
type greeting struct {
	hello  grouping.Belonging
	answer chan error // has room for one
}

// greet waits until a receiver may write. The appender, which may wait for the disk, decides
// only about those that do not say what the log does.
func (a *appender) greet(ctx context.Context, hello grouping.Belonging) error {
	if s := a.placed.stated.Load(); s.what != hello.Segment() {
		g := &greeting{hello, make(chan error, 1)}
		select {
		case a.greetings <- g:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := <-g.answer; err != nil {
			return err
		}
	}
	s := a.placed.stated.Load() // Newer ones are durable after older ones.
	return s.of.waitDurable(s.in)
}

// meet decides about a receiver, and appends its placement if that is newer.
func (a *appender) meet(g *greeting) {
	s, now := a.state, a.now()
	var until int64
	if s != nil {
		until = s.written + underWay.Milliseconds()
	}
	taken, err := a.placed.Meet(g.hello, until)
	refused := (*grouping.Error)(nil)
	switch {
	case errors.As(err, &refused):
		a.placed.metrics.refused.WithLabelValues(string(refused.Reason)).Inc()
		misplaced := &link.MisplacedError{Version: a.placed.Version(), Err: err}
		if refused.Reason == grouping.Group { // The receiver's files may be of other groups altogether.
			misplaced.Version = 0
		}
		err = misplaced
	case taken && s == nil:
		err = a.cause
	case taken:
		a.placed.Belonging = g.hello
		a.placed.links.endOlder(g.hello.Version())
		err = a.place(s, now)
	}
	g.answer <- err
}

// place appends the placement.
func (a *appender) place(s *state, now time.Time) error {
	p := a.placed
	if err := a.appendEmpty(s, now, p.Segment()); err != nil {
		return err
	}
	p.tell(s.end(), s)
	p.logger.Info("the log has a new placement", "group", p.Group, "version", p.Version(), "sequence", s.last)
	return nil
}

// opened learns what the log says that is written from now on, or has it say what is known.
func (a *appender) opened(s *state) {
	p := a.placed
	if s.belongs.Version() > p.Version() {
		p.Belonging = s.belongs
	}
	if s.head.Placement() == p.Segment() {
		p.tell(place{}, s)
		return
	}
	_ = a.place(s, a.now()) // If it fails, the log is opened again.
}

// tell says what the log does from a block on.
func (p *placed) tell(in place, s *state) {
	p.stated.Store(&stated{p.Segment(), in, s})
	p.metrics.show(p.Group, p.Version())
}

// outdated says that a batch was sent under another placement than the newest.
func (p *placed) outdated(j *job) bool { return j.to.version < p.Version() }

// errOutdated is why such a batch has to come again.
var errOutdated = errors.New("the log has got a newer placement of series since the receiver connected")

// recallPlacement reads what the log says of its placement, and when it was written last.
func (s *state) recallPlacement() (err error) {
	if s.head.Len() == 0 && (s.last > 0 || !s.head.Placement().None()) {
		s.written = s.time // At the latest: what was written is gone.
	}
	s.belongs, err = grouping.Of(s.head.Placement())
	if err != nil {
		return fmt.Errorf("placement of the log: %w", err)
	}
	return nil
}
