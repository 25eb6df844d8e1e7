package stream

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"connectrpc.com/connect"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/refusal"
)

// Call is a stream that was admitted, of any kind.
type Call struct {
	streams *Streams
	ctx     context.Context // ends when the client's or the server's does
	peer    string
	stall   *stall
	Leave   func() // has to be called
}

// Admit lets a stream begin. The room of its request is given back, which is not
// needed any more.
func (s *Streams) Admit(ctx context.Context, from Caller) (*Call, error) {
	from.Room.Release()
	if s.base.Err() != nil {
		return nil, refusal.Unavailable(context.Cause(s.base), "")
	}
	one := s.Open.Hold(from.Peer)
	if err := one.Resize(1); err != nil {
		return nil, s.Refusals.Of(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.base, func() { cancel(context.Cause(s.base)) })
	stall := newStall(s.StallTimeout, int64(s.MinRate), func(t time.Time) { _ = from.Control.SetWriteDeadline(t) })
	return &Call{streams: s, ctx: ctx, peer: from.Peer, stall: stall, Leave: func() {
		stop()
		cancel(nil)
		one.Release()
	}}, nil
}

// admitServed is admit for a stream that reads logs: there has to be one.
func (s *Streams) admitServed(ctx context.Context, from Caller) (*Call, error) {
	c, err := s.Admit(ctx, from)
	if err != nil {
		return nil, err
	}
	if err := s.Serving(); err != nil {
		c.Leave()
		return nil, refusal.Unavailable(err, "")
	}
	return c, nil
}

// Context ends when the client's or the server's does.
func (c *Call) Context() context.Context { return c.ctx }

// Begun counts the stream by its kind.
func (c *Call) Begun(kind string) { c.streams.metrics.begun.WithLabelValues(kind).Inc() }

// Write runs what writes n bytes to the client, who is cut off if it does not take them.
func (c *Call) Write(n int, write func() error) error {
	c.stall.begin()
	defer c.stall.end(n)
	return write()
}

// Ended counts the end of the stream by its reason, and returns what the client is
// told: to go on after the cursor, where that can help.
func (c *Call) Ended(cursor string, err error) error {
	reason, told := c.outcome(cursor, err)
	c.streams.metrics.ended.WithLabelValues(reason).Inc()
	c.stall.last()
	return told
}

func (c *Call) outcome(cursor string, err error) (reason string, told error) {
	var known *connect.Error
	var damage *seglog.DamageError
	switch {
	case err == nil:
		return "complete", nil
	case c.stall.reason() != nil:
		return c.cutOff(c.stall.reason())
	case errors.Is(context.Cause(c.ctx), refusal.ErrDraining):
		return "draining", refusal.Unavailable(refusal.ErrDraining, cursor)
	case c.ctx.Err() != nil:
		return "client", c.ctx.Err()
	case errors.Is(err, refusal.ErrAged):
		return "max_age", refusal.Unavailable(refusal.ErrAged, cursor)
	case errors.As(c.streams.Refusals.Of(err), &known):
		return known.Code().String(), known
	case errors.Is(err, seglog.ErrClosed):
		return "reopened", refusal.Unavailable(errors.New("the log is being opened anew"), cursor)
	case errors.As(err, &damage):
		c.failed(err)
		return "damage", connect.NewError(connect.CodeDataLoss, err)
	}
	c.failed(err)
	return "internal", connect.NewError(connect.CodeInternal, err)
}

// failed logs what is this server's fault.
func (c *Call) failed(err error) {
	c.streams.Log.Log(slog.LevelError, "stream failed", "peer", c.peer, "err", err)
}

// cutOff says why a client was cut off. It is told in case it can still hear.
func (c *Call) cutOff(err error) (reason string, told error) {
	c.streams.Log.Log(slog.LevelWarn, "stream cut", "peer", c.peer, "err", err)
	if errors.Is(err, errStalled) {
		return "stalled", connect.NewError(connect.CodeAborted, err)
	}
	told = c.streams.Refusals.Of(err)
	return connect.CodeOf(told).String(), told
}
