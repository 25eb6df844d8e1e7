package promgrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/backoff"
)

// missedHeartbeats is after how many heartbeat intervals of silence a following
// stream is considered dead.
const missedHeartbeats = 3

// defaultHeartbeat is the server's interval where the request has none.
const defaultHeartbeat = 10 * time.Second

// errBothStarts is the error of a request with two starts.
var errBothStarts = errors.New("both a time and a cursor to start from are given")

// errStopped says that the caller left the range loop.
var errStopped = errors.New("stopped by the caller")

// errNoEnd is the error of a stream that closed properly without an End event. Some
// proxies make the death of a server look like that.
var errNoEnd = errors.New("stream closed before its end")

// errSilent is the cause that a stream without heartbeats is canceled with.
var errSilent = errors.New("no heartbeat")

// message is a response of any streaming call.
type message interface {
	proto.Message
	GetCursor() string
	GetEnd() *metricsv1.End
}

// terms are what all streams of one call have in common.
type terms struct {
	method    string
	follow    bool
	heartbeat time.Duration // 0 means the server's own
}

// patience returns how long a server may be silent while following.
func (t terms) patience() time.Duration {
	if t.heartbeat > 0 {
		return missedHeartbeats * t.heartbeat
	}
	return missedHeartbeats * defaultHeartbeat
}

// progress is how far a streaming call has come, over all its streams.
type progress[R message] interface {
	// request asks for what comes next. The stream that it opens has no references
	// yet.
	request() proto.Message
	// restore puts the labels into the next response of a stream that its references
	// stand for. It returns errReference or errPartial for a response that a server
	// that is well does not send.
	restore(r R) error
	// deliver yields what the response completes, and reports whether the caller wants
	// more.
	deliver(address string, r R) bool
	// broke comes after a stream that broke. A server that ended it may have said where
	// to go on.
	broke(farewell string)
}

// run is one pass over a streaming call: it opens a stream, and when that breaks the
// next one, until the end.
type run[R message] struct {
	client   *Client
	terms    terms
	empty    func() R
	progress progress[R]
	tries    attempts
	suspect  suspicion

	entered    bool // any stream had a message
	served     bool // this stream had a message
	outOfRange int  // servers that answered so since the last message
}

// resume makes a streaming call. It returns nil after the End event, and errStopped if
// the caller wants no more.
func resume[R message](ctx context.Context, c *Client, t terms, empty func() R, p progress[R]) error {
	if err := sendable(p.request()); err != nil {
		return err
	}
	r := &run[R]{client: c, terms: t, empty: empty, progress: p, tries: c.newAttempts(), suspect: suspicion{client: c}}
	return r.run(ctx)
}

func (r *run[R]) run(ctx context.Context) error {
	for {
		err := r.stream(ctx)
		switch {
		case err == nil || errors.Is(err, errStopped):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case r.tries.outdated(err):
			continue
		}
		if o, ok := outOfRange(err); ok {
			// Another replica may retain more, or may have run while this one was set
			// up.
			if r.outOfRange++; r.outOfRange >= len(r.tries.addresses) {
				return o
			}
		} else if !resumable(err) && !broken(err) {
			return err
		}
		ended := interrupted(err)
		r.progress.broke(ended.GetCursor())
		if r.mayMove(ended) {
			r.tries.move()
			r.client.options.Logger.Debug("stream moves", slog.Any("error", err), slog.String("next_address", r.tries.address()))
			continue
		}
		if err := r.pause(ctx, err); err != nil {
			return err
		}
	}
}

// broken reports whether a stream is not what a server that is well sends, so that it
// has to be opened again.
func broken(err error) bool {
	return errors.Is(err, errNoEnd) || errors.Is(err, errSilent) || errors.Is(err, errReference) || errors.Is(err, errPartial)
}

// pause comes between a stream that failed and the next one. It returns an error if
// there should be none.
func (r *run[R]) pause(ctx context.Context, err error) error {
	address := r.tries.address()
	if killer := r.suspect.after(ctx, address, err); killer != nil && !(r.terms.follow && r.entered) {
		return killer
	}
	failures := r.tries.failed(err)
	if failures > r.reconnects() {
		return r.tries.unreachable()
	}
	delay := max(r.tries.delay(err), r.suspect.pause())
	level := slog.LevelDebug
	if failures == 1 {
		level = slog.LevelWarn
	}
	r.client.options.Logger.Log(ctx, level, "stream interrupted",
		slog.String("address", address), slog.Any("error", err),
		slog.String("next_address", r.tries.address()), slog.Duration("delay", delay))
	return backoff.Sleep(ctx, delay)
}

// mayMove reports whether the stream ended only for its age, so that another may be
// opened at once.
func (r *run[R]) mayMove(ended *metricsv1.StreamInterrupted) bool {
	return ended.GetReason() == metricsv1.StreamInterrupted_REASON_MAX_AGE && r.served && r.client.options.MaxReconnects >= 0
}

// reconnects returns how many are allowed now, in a row.
func (r *run[R]) reconnects() int {
	o := &r.client.options
	switch {
	case o.MaxReconnects < 0:
		return 0
	case o.FailFast && !r.entered:
		return len(r.tries.addresses) - 1
	case o.MaxReconnects > 0:
		return o.MaxReconnects
	case r.terms.follow:
		return math.MaxInt
	}
	return 2 * len(r.tries.addresses)
}

// stream opens one stream and takes its messages until it breaks. It returns nil after
// the End event.
func (r *run[R]) stream(ctx context.Context) error {
	r.served = false
	if err := r.tries.refresh(ctx); err != nil {
		return err
	}
	t, err := r.client.newTransport(r.tries.address())
	if err != nil {
		return err
	}
	defer func() { _ = t.close() }()
	// Without the deadline of ctx, which would be sent to the server: if it noticed
	// first that the deadline has passed, it would look as if it had failed.
	caller := ctx
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(caller))
	defer cancel(nil)
	defer context.AfterFunc(caller, func() { cancel(context.Cause(caller)) })()
	ctx, x, end := withExchange(ctx)
	defer end()
	wrap := func(err error) error {
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%s: %w", r.tries.address(), errNoEnd)
		case errors.Is(context.Cause(ctx), errSilent):
			return fmt.Errorf("%s: %w for %s", r.tries.address(), errSilent, r.terms.patience())
		}
		return r.client.wrap(ctx, t, x, err)
	}
	if err := r.suspect.before(ctx, r.tries.address(), t); err != nil {
		return err
	}
	alarm := time.AfterFunc(r.terms.patience(), func() { cancel(errSilent) })
	if !r.terms.follow {
		alarm.Stop()
	}
	defer alarm.Stop()

	if ctx, err = r.client.withHeader(ctx, r.tries.address()); err != nil {
		return err
	}
	s, err := t.open(ctx, r.terms.method, r.progress.request())
	if err != nil {
		return wrap(err)
	}
	defer s.close()
	defer cancel(nil) // before close, which would wait for the rest otherwise
	return r.receive(func() (R, error) {
		if r.terms.follow {
			alarm.Reset(r.terms.patience())
		}
		msg := r.empty()
		err := s.receive(msg)
		alarm.Stop() // the consumer may be slow
		if err != nil {
			return msg, wrap(err)
		}
		x.answered.Store(true)
		return msg, nil
	})
}

// receive takes the messages of one stream. It returns nil after the End event.
func (r *run[R]) receive(next func() (R, error)) error {
	for {
		msg, err := next()
		if err != nil {
			return err
		}
		if err := r.progress.restore(msg); err != nil {
			return fmt.Errorf("%s: %w", r.tries.address(), err)
		}
		r.accepted()
		ended := msg.GetEnd() != nil
		if !r.progress.deliver(r.tries.address(), msg) {
			return errStopped
		}
		if ended {
			return nil
		}
	}
}

// accepted notes that a server serves the call.
func (r *run[R]) accepted() {
	if r.tries.failures > 0 {
		r.client.options.Logger.Warn("stream resumed",
			slog.String("address", r.tries.address()), slog.Int("attempts", r.tries.failures))
	}
	r.tries.succeeded()
	r.suspect.clear()
	r.entered, r.served, r.outOfRange = true, true, 0
}
