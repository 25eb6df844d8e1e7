package call

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"connectrpc.com/connect"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/refusal"
)

// IncludedBytes is what the state of each stream may take without being counted. The
// number of streams bounds it.
const IncludedBytes = 512 << 10

// Call is a stream of any kind that was admitted.
type Call struct {
	calls  *Calls
	ctx    context.Context // ends when the client's or the server's does
	from   Caller
	stall  *stall
	cancel context.CancelCauseFunc
	Leave  func() // has to be called
}

// AdmitWatch admits a stream of the health, unless there are too many. Who has no
// credential may open one, so it takes the place of no reader.
func (s *Calls) AdmitWatch(ctx context.Context, from Caller) (*Call, error) {
	return s.admit(ctx, from, s.Watches.Hold(from.Peer))
}

// admit admits a stream that one place is taken for. The room of its request is released.
func (s *Calls) admit(ctx context.Context, from Caller, one *limit.Hold) (*Call, error) {
	from.Room.Release()
	if s.base.Err() != nil {
		return nil, refusal.Unavailable(context.Cause(s.base), "")
	}
	if err := one.Resize(1); err != nil {
		return nil, s.Refusals.Of(err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.base, func() { cancel(context.Cause(s.base)) })
	stall := newStall(s.StallTimeout, int64(s.MinRate), func(t time.Time) { _ = from.Control.SetWriteDeadline(t) })
	c := &Call{calls: s, ctx: ctx, from: from, stall: stall, cancel: cancel}
	s.watched.add(c)
	c.Leave = func() {
		s.watched.remove(c)
		stop()
		cancel(nil)
		one.Release()
	}
	return c, nil
}

// AdmitReader admits a stream that reads logs, of which there has to be one.
func (s *Calls) AdmitReader(ctx context.Context, from Caller) (*Call, error) {
	c, err := s.admit(ctx, from, s.Open.Hold(from.Peer).With(from.Rights.Streams()))
	if err != nil {
		return nil, err
	}
	if err := s.Serving(); err != nil {
		c.Leave()
		return nil, refusal.Unavailable(err, "")
	}
	return c, nil
}

// WhileBlocked has a function called once a second while a write is blocked. Its error,
// which says that the stream holds too much, ends the call. It is set before the first
// write.
func (c *Call) WhileBlocked(held func() error) { c.stall.held = held }

// Context ends when the client's or the server's does.
func (c *Call) Context() context.Context { return c.ctx }

// Hold holds nothing yet of the bytes of all streams' state.
func (c *Call) Hold() *limit.Hold {
	return c.calls.Bytes.Hold(c.from.Peer).With(c.from.Rights.Memory())
}

// Started counts the stream by its kind.
func (c *Call) Started(kind string) { c.calls.metrics.begun.WithLabelValues(kind).Inc() }

// Write calls what writes n bytes to the client, which is cut off if it does not take
// them.
func (c *Call) Write(n int, write func() error) error {
	c.stall.before()
	defer c.stall.after(n)
	return write()
}

// Ended counts the end of the stream by its reason, and returns the client's error,
// which has the cursor to resume at where that can help.
func (c *Call) Ended(cursor string, err error) error {
	reason, told := c.outcome(cursor, err)
	c.calls.metrics.ended.WithLabelValues(reason).Inc()
	c.stall.last()
	return told
}

func (c *Call) outcome(cursor string, err error) (reason string, told error) {
	var known *connect.Error
	var damage *seglog.DamageError
	var old *seglog.OutOfRangeError
	switch {
	case err == nil:
		return "complete", nil
	case c.stall.reason() != nil:
		return c.cutOff(c.stall.reason())
	case errors.Is(context.Cause(c.ctx), refusal.ErrDraining):
		return "draining", refusal.Unavailable(refusal.ErrDraining, cursor)
	case errors.Is(context.Cause(c.ctx), refusal.ErrRightsChanged):
		return "rights", refusal.Unavailable(refusal.ErrRightsChanged, cursor)
	case c.ctx.Err() != nil:
		return "client", c.ctx.Err()
	case errors.Is(err, refusal.ErrAged):
		return "max_age", refusal.Unavailable(refusal.ErrAged, cursor)
	case errors.As(c.calls.Refusals.Of(err), &known):
		return known.Code().String(), known
	case errors.Is(err, seglog.ErrRemote):
		c.calls.Log.Log(slog.LevelWarn, "stream ends, since the bucket cannot be read", "peer", c.from.Peer, "err", err)
		return "bucket", refusal.Unavailable(errors.New("the bucket cannot be read now"), cursor)
	case errors.As(err, &old):
		return "retention", refusal.Unavailable(errors.New("retention overtook the call"), cursor)
	case errors.Is(err, seglog.ErrClosed):
		return "reopened", refusal.Unavailable(errors.New("the log is being reopened"), cursor)
	case errors.As(err, &damage):
		c.failed(err)
		return "damage", connect.NewError(connect.CodeDataLoss, err)
	}
	c.failed(err)
	return "internal", connect.NewError(connect.CodeInternal, err)
}

// failed logs an error that is this server's fault.
func (c *Call) failed(err error) {
	c.calls.Log.Log(slog.LevelError, "stream failed", "peer", c.from.Peer, "err", err)
}

// cutOff is the end of a client that was cut off, which may still get the error.
func (c *Call) cutOff(err error) (reason string, told error) {
	c.calls.Log.Log(slog.LevelWarn, "stream cut", "peer", c.from.Peer, "err", err)
	if errors.Is(err, errStalled) {
		return "stalled", connect.NewError(connect.CodeAborted, err)
	}
	told = c.calls.Refusals.Of(err)
	return connect.CodeOf(told).String(), told
}
