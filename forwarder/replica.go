package forwarder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// replica is one server as the forwarder sees it.
type replica struct {
	instance discovery.Instance
	log      func() (*seglog.Log, <-chan struct{})
	ended    *endedLogs
	diverged func(divergence)
	options  link.Options
	metrics  *metrics
	logger   *slog.Logger
	cancel   context.CancelFunc

	connected atomic.Bool
	confirmed atomic.Uint64
}

const (
	redialMin = 100 * time.Millisecond
	redialMax = 5 * time.Second
	// tailEvery is how often a server is told how far the log has come.
	tailEvery = time.Second
)

// errLogChanged ends a connection when another log is being written.
var errLogChanged = errors.New("the log was opened again")

// divergedError says that a server has blocks of a log that this one never had.
type divergedError struct{ divergence }

func (e *divergedError) Error() string { return e.reason }

// run keeps the server supplied with a log, by one connection after another, until
// ctx ends or the log has been deleted.
func (p *replica) run(ctx context.Context, connect func(context.Context) error) {
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
		var diverged *divergedError
		switch {
		case errors.Is(err, errLogChanged):
			failures = 0
			continue
		case errors.As(err, &diverged):
			p.metrics.diverged.WithLabelValues(p.instance.ID).Inc()
			if told != err.Error() {
				p.logger.Error("server has diverged from the log", "err", err)
			}
			p.diverged(diverged.divergence)
		case told != err.Error():
			p.logger.Warn("server lost", "err", err, "retry_in", pause)
		}
		told = err.Error()
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		failures++
	}
}

// connect dials the server and supplies it until that ends.
func (p *replica) connect(ctx context.Context) error {
	l, changed := p.log()
	if l == nil {
		select {
		case <-changed:
		case <-ctx.Done():
		}
		return errLogChanged
	}
	c, position, err := p.dial(ctx, l, false, p.options)
	if err != nil {
		return err
	}
	defer c.Close()
	after, err := startOf(l, position)
	if err != nil {
		return refuse(c, err)
	}
	p.confirmed.Store(after)
	p.connected.Store(true)
	p.metrics.connected.WithLabelValues(p.instance.ID).Set(1)
	defer func() {
		p.connected.Store(false)
		p.metrics.connected.WithLabelValues(p.instance.ID).Set(0)
	}()
	p.logger.Info("server connected", "log_id", l.ID().String(), "after", after)
	measuring, stop := context.WithCancel(ctx)
	var measured sync.WaitGroup
	defer measured.Wait()
	defer stop()
	measured.Go(func() { p.measureUntil(measuring, l) })
	return p.supply(ctx, c, l, after, changed, func(sequence uint64) {
		p.confirmed.Store(sequence)
		p.measure(l)
	})
}

// dial opens a connection for a log, and returns the server's position in it.
func (p *replica) dial(ctx context.Context, l *seglog.Log, ended bool, o link.Options) (*link.Conn, *linkv1.Position, error) {
	id := l.ID()
	hello := &linkv1.Hello{Role: linkv1.Role_ROLE_FORWARDER, LogId: id[:], Ended: ended}
	c, welcome, err := link.Dial(ctx, p.instance.Address, hello, o)
	return c, welcome.GetPosition(), err
}

// refuse tells the server if it has diverged.
func refuse(c *link.Conn, err error) error {
	var diverged *divergedError
	if errors.As(err, &diverged) {
		_ = c.CloseWith(err.Error())
	}
	return err
}

// supply sends what is behind a sequence, and passes on what the server confirms,
// until the connection ends, or the log is another one.
func (p *replica) supply(ctx context.Context, c *link.Conn, l *seglog.Log, after uint64, changed <-chan struct{}, confirm func(uint64)) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var helpers sync.WaitGroup
	defer helpers.Wait()
	// A Send or Receive under way ends with the connection.
	stop := context.AfterFunc(inner, func() { _ = c.Close() })
	defer stop()
	helpers.Go(func() { cancel(p.receive(c, confirm)) })
	helpers.Go(func() { cancel(p.tell(inner, c, l, changed)) })
	err := p.send(inner, c, l, after)
	cancel(err)
	return context.Cause(inner)
}

// startOf returns the sequence after which the server is to be supplied. The
// server's past and the log's must be the same as far as both go.
func startOf(l *seglog.Log, position *linkv1.Position) (uint64, error) {
	id := l.ID()
	after := position.GetSequence()
	if position == nil || after == 0 {
		return 0, nil
	}
	if segment.LogID(position.GetLogId()) != id {
		return 0, fmt.Errorf("server answered with a position in log %x, asked for log %s", position.GetLogId(), id)
	}
	if last := l.Last(); after > last {
		return 0, &divergedError{divergence{id, fmt.Sprintf("server is at block %d of log %s, which ends at %d", after, id, last)}}
	}
	sum, ok, err := l.Checksum(after)
	if err != nil {
		return 0, fmt.Errorf("checksum of block %d: %w", after, err)
	}
	if ok && sum != position.GetChecksum() {
		return 0, &divergedError{divergence{id, fmt.Sprintf("block %d of log %s has the checksum %08x, at the server %08x", after, id, sum, position.GetChecksum())}}
	}
	return after, nil
}

// send supplies the server with everything after a sequence. It does not
// return without an error.
func (p *replica) send(ctx context.Context, c *link.Conn, l *seglog.Log, after uint64) error {
	raw, err := l.ReadRaw(after)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	defer raw.Close()
	sent := p.metrics.sent.WithLabelValues(p.instance.ID)
	for {
		chunk, err := raw.Next(ctx)
		var gap *seglog.GapError
		if errors.As(err, &gap) {
			if err := p.gap(c, gap); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		if chunk.Start {
			start := &linkv1.SegmentStart{Name: chunk.SegmentName, FirstSequence: chunk.FirstSequence}
			if err := c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Segment{Segment: start}}); err != nil {
				return err
			}
		}
		data := &linkv1.SegmentAppend{Offset: chunk.Offset, Data: chunk.Data}
		if err := c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Append{Append: data}}); err != nil {
			return err
		}
		sent.Add(float64(len(chunk.Data)))
	}
}

// gap says that blocks are missing.
func (p *replica) gap(c *link.Conn, gap *seglog.GapError) error {
	p.metrics.gaps.WithLabelValues(p.instance.ID).Inc()
	p.logger.Warn("blocks are missing in what the server gets", "after", gap.After, "next", gap.Next, "err", gap)
	return c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Gap{Gap: &linkv1.Gap{AfterSequence: gap.After, NextSequence: gap.Next}}})
}

// tell says how far the log has come whenever it has, until another log is being
// written, or there is nothing left of this one.
func (p *replica) tell(ctx context.Context, c *link.Conn, l *seglog.Log, changed <-chan struct{}) error {
	id := l.ID()
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	for told, first := uint64(0), true; ; first = false {
		last := l.Last()
		if last != told || first {
			tail := &linkv1.Position{LogId: id[:], Sequence: last}
			if err := c.Send(&linkv1.Frame{Kind: &linkv1.Frame_Tail{Tail: tail}}); err != nil {
				return err
			}
			told = last
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

// receive takes the server's confirmations.
func (p *replica) receive(c *link.Conn, confirm func(uint64)) error {
	for {
		f, err := c.Receive()
		if err != nil {
			return err
		}
		k, ok := f.GetKind().(*linkv1.Frame_Position)
		if !ok {
			return fmt.Errorf("a server does not send frames of the kind %T", f.GetKind())
		}
		confirm(k.Position.GetSequence())
	}
}

// measureUntil measures again and again: a server that confirms nothing falls
// behind, too.
func (p *replica) measureUntil(ctx context.Context, l *seglog.Log) {
	tick := time.NewTicker(tailEvery)
	defer tick.Stop()
	for {
		p.measure(l)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *replica) measure(l *seglog.Log) {
	confirmed, last := p.confirmed.Load(), l.Last()
	p.metrics.position.WithLabelValues(p.instance.ID).Set(float64(confirmed))
	p.metrics.lag.WithLabelValues(p.instance.ID).Set(float64(last - min(confirmed, last)))
}
