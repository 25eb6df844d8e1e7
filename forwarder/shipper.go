package forwarder

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/internal/seglog"
)

// shipper sends logs to one server: the present one, and of those that have ended what
// the server lacks. Each takes a connection of its own, on which the server says after
// which block to go on, and then confirms what it has.
type shipper struct {
	toShip
	instance discovery.Instance
	logger   *slog.Logger

	connected atomic.Bool
	confirmed atomic.Uint64
}

const (
	redialMin = 100 * time.Millisecond
	redialMax = 5 * time.Second
	// tailEvery is how often a server is told where the log ends.
	tailEvery = time.Second
)

// errLogChanged ends a connection when another log is being written.
var errLogChanged = errors.New("the log was opened again")

// run ships a log by one connection after another, until ctx ends or the log has
// been deleted.
func (s *shipper) run(ctx context.Context, connect func(context.Context) error) {
	failures := 0
	var told string // the error that was logged last
	for ctx.Err() == nil {
		began := time.Now()
		err := connect(ctx)
		if ctx.Err() != nil || errors.Is(err, errExpired) {
			return
		}
		if time.Since(began) > redialMax {
			failures, told = 0, ""
		}
		pause := backoff.Pause(redialMin, redialMax, failures)
		var diverged *divergence
		switch {
		case errors.Is(err, errLogChanged):
			failures = 0
			continue
		case errors.As(err, &diverged):
			s.metrics.diverged.WithLabelValues(s.instance.ID).Inc()
			if told != err.Error() {
				s.logger.Error("server has diverged from the log", "err", err)
			}
			s.diverged(diverged)
		case told != err.Error():
			s.logger.Warn("server lost", "err", err, "retry_in", pause)
		}
		told = err.Error()
		_ = backoff.Sleep(ctx, pause)
		failures++
	}
}

// shipPresent ships the log that is being written, for as long as one connection lasts.
func (s *shipper) shipPresent(ctx context.Context) error {
	l, changed := s.log()
	if l == nil {
		select {
		case <-changed:
		case <-ctx.Done():
		}
		return errLogChanged
	}
	c, welcome, err := s.dial(ctx, l, false, s.options)
	if err != nil {
		return err
	}
	defer c.Close()
	position := welcome.GetPosition()
	after, err := startAfter(ctx, l, position)
	if err != nil {
		return s.refuse(c, err)
	}
	s.confirmed.Store(after)
	s.connected.Store(true)
	s.metrics.connected.WithLabelValues(s.instance.ID).Inc()
	defer func() {
		s.connected.Store(false)
		s.metrics.connected.WithLabelValues(s.instance.ID).Dec()
	}()
	s.logger.Info("server connected", "log_id", l.ID().String(), "after_sequence", after)
	measuring, stop := context.WithCancel(ctx)
	var measured sync.WaitGroup
	defer measured.Wait()
	defer stop()
	measured.Go(func() { s.measureUntil(measuring, l) })
	joined := s.join(l, welcome)
	defer joined.leave()
	return s.ship(ctx, c, l, after, changed, joined, func(p *linkv1.Position) {
		s.confirmed.Store(p.GetSequence())
		joined.confirm(p)
		s.measure(l)
	})
}

// dial opens a connection for a log, and returns what the server says of it.
func (s *shipper) dial(ctx context.Context, l *seglog.Log, ended bool, o link.Options) (*link.Conn, *linkv1.Welcome, error) {
	id := l.ID()
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:], Ended: ended, Durable: s.confirming != nil}
	return link.Dial(ctx, s.instance.Address, hello, o)
}

// join has the server count for what waits to be confirmed.
func (s *shipper) join(l *seglog.Log, welcome *linkv1.Welcome) *confirmLink {
	return s.confirming.join(cmp.Or(welcome.GetInstance(), s.instance.ID), l.ID(), l.Last, welcome.GetPosition())
}

// ship sends the blocks after a sequence, and passes on what the server confirms,
// until the connection ends, or the log is another one.
func (s *shipper) ship(ctx context.Context, c *link.Conn, l *seglog.Log, after uint64, changed <-chan struct{}, joined *confirmLink, confirm func(*linkv1.Position)) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	// A Send or Receive under way ends with the connection.
	stop := context.AfterFunc(inner, func() { _ = c.Close() })
	defer stop()
	helpers.Go(func() { cancel(receiveConfirmed(c, confirm, s.news)) })
	helpers.Go(func() { cancel(s.sendTail(inner, c, l, changed)) })
	to := toServer{logship.Frames{Conn: c}, s, s.metrics.sent.WithLabelValues(s.instance.ID)}
	cancel(logship.Send(inner, l, after, to, logship.Options{Awaited: joined.awaited()}))
	return context.Cause(inner)
}

// startAfter returns the sequence after which to ship. The server's blocks and the
// log's have to be the same as far as both go.
func startAfter(ctx context.Context, l *seglog.Log, position *linkv1.Position) (uint64, error) {
	after := position.GetSequence()
	if after == 0 {
		return 0, nil
	}
	if id := l.ID(); !bytes.Equal(position.GetLogId(), id[:]) {
		return 0, fmt.Errorf("server answered with a position in log %x, asked for log %s", position.GetLogId(), l.ID())
	}
	return after, logship.Compare(ctx, l, after, position.GetChecksum())
}

// toServer is the sink at a server, with what goes there counted and logged.
type toServer struct {
	logship.Frames
	*shipper
	sent prometheus.Counter
}

// Append implements [logship.Sink].
func (c toServer) Append(offset uint64, data []byte) error {
	err := c.Frames.Append(offset, data)
	if err == nil {
		c.sent.Add(float64(len(data)))
	}
	return err
}

// Gap implements [logship.Sink].
func (c toServer) Gap(gap *seglog.GapError) error {
	c.metrics.gaps.WithLabelValues(c.instance.ID).Inc()
	c.logger.Warn("blocks are missing in what the server gets", "after_sequence", gap.After, "next_sequence", gap.Next, "err", gap)
	return c.Frames.Gap(gap)
}

// sendTail says where the log ends, each time that it has grown, until another log is
// being written, or there is nothing left of this one.
func (s *shipper) sendTail(ctx context.Context, c *link.Conn, l *seglog.Log, changed <-chan struct{}) error {
	id := l.ID()
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	for sent, first := uint64(0), true; ; first = false {
		last := l.Last()
		if last != sent || first {
			tail := &linkv1.Position{LogId: id[:], Sequence: last}
			if err := c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Tail{Tail: tail}}); err != nil {
				return err
			}
			sent = last
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
			return errLogChanged
		case <-tick.C:
		}
		if len(l.Segments()) == 0 {
			return errExpired
		}
	}
}

// receiveConfirmed passes on up to which block the server has the log, and what other logs
// say of who is elected.
func receiveConfirmed(c *link.Conn, confirm func(*linkv1.Position), news *news) error {
	for {
		f, err := c.Receive()
		if err != nil {
			return err
		}
		switch k := f.GetKind().(type) {
		case *linkv1.Frame_Position:
			confirm(k.Position)
		case *linkv1.Frame_Election:
			if err := news.hear(k.Election); err != nil {
				return err
			}
		default:
			return fmt.Errorf("a server does not send frames of the kind %T", k)
		}
	}
}

// measureUntil measures every second, since the lag of a server that confirms nothing
// grows, too.
func (s *shipper) measureUntil(ctx context.Context, l *seglog.Log) {
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	for {
		s.measure(l)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *shipper) measure(l *seglog.Log) {
	confirmed, last := s.confirmed.Load(), l.Last()
	s.metrics.position.WithLabelValues(s.instance.ID).Set(float64(confirmed))
	s.metrics.lag.WithLabelValues(s.instance.ID).Set(float64(last - min(confirmed, last)))
}
