package promgrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/backoff"
)

// missedHeartbeats is after how many heartbeat intervals of silence a following
// stream is considered dead.
const missedHeartbeats = 3

// defaultHeartbeat is the server's interval where the request has none.
const defaultHeartbeat = 10 * time.Second

// Query says which series to get, from where, and how long. The zero Query
// gets the latest sample of every live series.
type Query struct {
	// Selectors are PromQL series selectors. A series is sent if any of them
	// matches. None means every series.
	Selectors []string
	// Since, if not nil, replays the retained samples from this time on, at or after
	// the year 1.
	Since *time.Time
	// Cursor, if not empty, resumes right after the Update that had it. Since must be
	// nil then.
	Cursor string
	// Follow goes on with new samples once the present is reached.
	Follow bool
	// MinInterval is the least time between two samples of a series while following.
	// Of those in between only the last is sent. Zero means every sample.
	MinInterval time.Duration
	// HeartbeatInterval is how long a following stream may be quiet, 10 seconds by
	// default. A server that is silent for three times as long is given up for the
	// next one.
	HeartbeatInterval time.Duration
}

// Update is a part of a stream: series, an event, or both, and the cursor that
// covers everything up to and including it. It belongs to the caller, except for
// the labels of series, which updates of one Get share: they must not be
// modified.
//
// After a reconnect a following stream reports once more when it is synced.
type Update struct {
	*metricsv1.GetMetricsResponse
	// Address of the server that sent it.
	Address string
	// Rewound says that the stream broke where it could not be resumed: what came
	// since the last Update with a cursor comes again, starting here.
	Rewound bool
}

// Get streams what q asks for. When a stream breaks, it resumes after the last
// cursor at the next address, or at any address if the server ended the stream for
// its age. It ends after the Update with the End event, or with an error and an
// Update that has no response: an *Error that another attempt would not cure (an
// invalid selector, say), an *OutOfRangeError, an *UnreachableError when the
// attempts are used up, a *SuspectError when this very call seems to kill servers,
// or the cause of ctx. A following stream that was served before does not give up
// on a suspicion, but pauses for up to a minute.
//
// Ranging over the sequence again starts over.
func (c *Client) Get(ctx context.Context, q Query) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		if q.Since != nil && q.Cursor != "" {
			yield(Update{}, errors.New("query has both a time and a cursor to start from"))
			return
		}
		r := &run{
			client: c, query: q, yield: yield, cursor: q.Cursor,
			tries: c.newAttempts(), suspect: suspicion{client: c},
		}
		if err := sendable(r.request()); err != nil {
			yield(Update{}, err)
			return
		}
		if err := r.run(ctx); err != nil && !errors.Is(err, errStopped) {
			yield(Update{}, err)
		}
	}
}

// errStopped says that the caller left the range loop.
var errStopped = errors.New("stopped by the caller")

// errNoEnd is the error of a stream that closed properly without an End event. Some
// proxies make the death of a server look like that.
var errNoEnd = errors.New("stream closed before its end")

// errSilent is the cause that a stream without heartbeats is canceled with.
var errSilent = errors.New("no heartbeat")

// run is one pass over a Get.
type run struct {
	client  *Client
	query   Query
	yield   func(Update, error) bool
	tries   attempts
	suspect suspicion

	cursor     string // of the last update that had one
	uncovered  bool   // samples were yielded since
	rewound    bool   // the next update is the first that comes again
	entered    bool   // any stream had a message
	served     bool   // this stream had a message
	outOfRange int    // servers that answered so since the last message
}

func (r *run) run(ctx context.Context) error {
	for {
		done, err := r.stream(ctx)
		switch {
		case done:
			return nil
		case errors.Is(err, errStopped):
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
		} else if !resumable(err) && !errors.Is(err, errNoEnd) && !errors.Is(err, errSilent) && !errors.Is(err, errReference) {
			return err
		}
		ended := interrupted(err)
		r.rewind(ended.GetCursor())
		if r.mayMove(ended) {
			r.tries.move()
			r.client.options.Logger.Debug("stream moves", slog.Any("error", err), slog.String("next_address", r.tries.address()))
			continue
		}

		address := r.tries.address()
		if killer := r.suspect.after(ctx, address, err); killer != nil && !(r.query.Follow && r.entered) {
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
		if err := backoff.Sleep(ctx, delay); err != nil {
			return err
		}
	}
}

// mayMove reports whether the stream ended only for its age, so that another may be
// opened at once.
func (r *run) mayMove(ended *metricsv1.StreamInterrupted) bool {
	return ended.GetReason() == metricsv1.StreamInterrupted_REASON_MAX_AGE && r.served && r.client.options.MaxReconnects >= 0
}

// reconnects returns how many are allowed now, in a row.
func (r *run) reconnects() int {
	o := &r.client.options
	switch {
	case o.MaxReconnects < 0:
		return 0
	case o.FailFast && !r.entered:
		return len(r.tries.addresses) - 1
	case o.MaxReconnects > 0:
		return o.MaxReconnects
	case r.query.Follow:
		return math.MaxInt
	}
	return 2 * len(r.tries.addresses)
}

// rewind prepares to resume after the last cursor, or that of the server's farewell.
func (r *run) rewind(farewell string) {
	if farewell != "" {
		r.cursor, r.uncovered = farewell, false
	}
	if r.uncovered {
		r.uncovered, r.rewound = false, true
	}
}

func (r *run) request() *metricsv1.GetMetricsRequest {
	req := &metricsv1.GetMetricsRequest{
		Selectors: r.query.Selectors,
		Follow:    r.query.Follow,
		// A snapshot has each series only once.
		LabelReferences: r.query.Follow || r.cursor != "" || r.query.Since != nil,
	}
	if r.cursor != "" {
		req.Start = &metricsv1.GetMetricsRequest_Cursor{Cursor: r.cursor}
	} else if r.query.Since != nil {
		req.Start = &metricsv1.GetMetricsRequest_Since{Since: timestamppb.New(*r.query.Since)}
	}
	if r.query.MinInterval > 0 {
		req.MinInterval = durationpb.New(r.query.MinInterval)
	}
	if r.query.HeartbeatInterval > 0 {
		req.HeartbeatInterval = durationpb.New(r.query.HeartbeatInterval)
	}
	return req
}

// stream opens one stream and yields its messages until it breaks. It returns true
// after the End event.
func (r *run) stream(ctx context.Context) (bool, error) {
	r.served = false
	if err := r.tries.refresh(ctx); err != nil {
		return false, err
	}
	t, err := r.client.newTransport(r.tries.address())
	if err != nil {
		return false, err
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
			return fmt.Errorf("%s: %w for %s", r.tries.address(), errSilent, r.patience())
		}
		return r.client.wrap(ctx, t, x, err)
	}
	if err := r.suspect.before(ctx, r.tries.address(), t); err != nil {
		return false, err
	}
	alarm := time.AfterFunc(r.patience(), func() { cancel(errSilent) })
	if !r.query.Follow {
		alarm.Stop()
	}
	defer alarm.Stop()

	if ctx, err = r.client.withHeader(ctx, r.tries.address()); err != nil {
		return false, err
	}
	s, err := t.getMetrics(ctx, r.request())
	if err != nil {
		return false, wrap(err)
	}
	defer s.close()
	defer cancel(nil) // before close, which would wait for the rest otherwise
	return r.receive(func() (*metricsv1.GetMetricsResponse, error) {
		if r.query.Follow {
			alarm.Reset(r.patience())
		}
		msg, err := s.receive()
		alarm.Stop() // the consumer may be slow
		if err != nil {
			return nil, wrap(err)
		}
		x.answered.Store(true)
		return msg, nil
	})
}

// receive yields the messages of one stream. It returns true after the End event.
func (r *run) receive(next func() (*metricsv1.GetMetricsResponse, error)) (bool, error) {
	known := make(labels) // references are valid for one stream
	for {
		msg, err := next()
		if err != nil {
			return false, err
		}
		if err := known.restore(msg); err != nil {
			return false, fmt.Errorf("%s: %w", r.tries.address(), err)
		}
		if !r.deliver(msg) {
			return false, errStopped
		}
		if msg.GetEnd() != nil {
			return true, nil
		}
	}
}

func (r *run) deliver(msg *metricsv1.GetMetricsResponse) bool {
	if r.tries.failures > 0 {
		r.client.options.Logger.Warn("stream resumed",
			slog.String("address", r.tries.address()), slog.Int("attempts", r.tries.failures))
	}
	r.tries.succeeded()
	r.suspect.clear()
	r.entered, r.served, r.outOfRange = true, true, 0
	update := Update{GetMetricsResponse: msg, Address: r.tries.address(), Rewound: r.rewound}
	r.rewound = false
	if msg.GetCursor() != "" {
		r.cursor, r.uncovered = msg.GetCursor(), false
	} else if len(msg.GetTimeseries()) > 0 {
		r.uncovered = true
	}
	return r.yield(update, nil)
}

// patience returns how long a server may be silent while following.
func (r *run) patience() time.Duration {
	if r.query.HeartbeatInterval > 0 {
		return missedHeartbeats * r.query.HeartbeatInterval
	}
	return missedHeartbeats * defaultHeartbeat
}
