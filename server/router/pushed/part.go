package pushed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	queryv1 "github.com/promgrpc/exporter/gen/go/promgrpc/query/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/query/v1/queryv1connect"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/server/promql"
	"github.com/promgrpc/exporter/server/promql/pushdown"
	"github.com/promgrpc/exporter/server/router/remote"
)

// part is what one group evaluates. A goroutine takes what comes, one step ahead of who
// waits for it.
type part struct {
	asking *asking
	group  remote.Group
	from   int64
	cancel context.CancelFunc
	steps  chan step

	// Of who waits.
	current *step

	// Of the goroutine.
	next     int64 // step, ms
	failures int
}

// step is what a group comes to at a time.
type step struct {
	promql.Answer
	at    int64
	bytes int64
	err   error // it came to nothing; if at is 0, all that follow as well
}

func newPart(a *asking, g remote.Group, from int64) *part {
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{asking: a, group: g, from: from, next: from, cancel: cancel, steps: make(chan step)}
	go p.run(ctx)
	return p
}

func (p *part) close() {
	p.cancel()
	for s := range p.steps { // until the goroutine has ended
		p.release(&s)
	}
	p.release(p.current)
}

// first is the first step that can be waited for.
func (p *part) first() int64 {
	if p.current != nil {
		return p.current.at
	}
	return p.from
}

// wait waits for a step.
func (p *part) wait(ctx context.Context, at int64) (*step, error) {
	for p.current == nil || p.current.at < at && (p.current.err == nil || p.current.at != 0) {
		select {
		case s, ok := <-p.steps:
			if !ok {
				return nil, errors.New("no steps are left that were asked for")
			}
			p.release(p.current)
			p.current = &s
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if p.current.err != nil {
		return nil, p.current.err
	}
	if p.current.at > at {
		return nil, pushdown.ErrWhole // It is not a step of theirs.
	}
	return p.current, nil
}

func (p *part) release(s *step) {
	if s != nil {
		_ = p.asking.hold(-s.bytes)
	}
}

// What pauses are between attempts.
const (
	leastPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second
)

// run asks the group until all steps were handed out, or an error that stays.
func (p *part) run(ctx context.Context) {
	defer close(p.steps)
	for ctx.Err() == nil && p.next <= p.asking.asked.To {
		err := p.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			continue
		case isOfStep(err):
			// Evaluated as a whole it fails, too, and says so as it should be said.
			p.give(ctx, step{at: p.next, err: pushdown.ErrWhole})
		case stays(err):
			p.give(ctx, step{err: fmt.Errorf("group %s: %w", p.group.Name(), err)})
			return
		default:
			p.failures++
			if backoff.Sleep(ctx, backoff.Pause(leastPause, mostPause, p.failures-1)) != nil {
				return
			}
		}
	}
}

// isOfStep says whether an expression cannot be evaluated at a step.
func isOfStep(err error) bool { return connect.CodeOf(err) == connect.CodeInvalidArgument }

// stays says whether an error is one of this call wherever it is made.
func stays(err error) bool {
	var known *connect.Error
	if !errors.As(err, &known) {
		return true // It is one of a limit here.
	}
	switch known.Code() {
	case connect.CodePermissionDenied, connect.CodeUnauthenticated, connect.CodeUnimplemented, connect.CodeOutOfRange:
		return true
	case connect.CodeResourceExhausted:
		for _, d := range known.Details() {
			if m, err := d.Value(); err == nil {
				if _, ok := m.(*errdetails.RetryInfo); ok {
					return false
				}
			}
		}
		return true
	}
	return false
}

// ask makes one call, from the next step on.
func (p *part) ask(ctx context.Context) error {
	stream, err := p.group.Open(ctx, queryv1connect.QueryServiceQueryProcedure, p.request())
	if err != nil {
		return err
	}
	defer stream.Close()
	d := newDecoder(p)
	defer d.close()
	var wire []byte
	for {
		if wire, err = stream.Receive(wire); err != nil {
			if errors.Is(err, io.EOF) {
				return connect.NewError(connect.CodeUnavailable, errors.New("the stream ended before its last step"))
			}
			return err
		}
		p.asking.groups.metrics.bytes.Add(float64(len(wire)))
		last, complete, err := d.add(wire)
		if err != nil {
			return err
		}
		for complete && p.next <= last {
			p.failures = 0
			if !p.give(ctx, d.take(p.next, last)) {
				return context.Cause(ctx)
			}
		}
		if p.next > p.asking.asked.To {
			return nil
		}
	}
}

// give hands out a step, and says whether somebody took it.
func (p *part) give(ctx context.Context, s step) bool {
	if s.at != 0 {
		p.next = s.at + p.asking.asked.Step.Milliseconds()
	}
	select {
	case p.steps <- s:
		return true
	case <-ctx.Done():
		p.release(&s)
		return false
	}
}

func (p *part) request() *queryv1.QueryRequest {
	a := &p.asking.asked
	r := &queryv1.QueryRequest{
		Expression: a.Text, Start: &queryv1.QueryRequest_Since{Since: timestamppb.New(time.UnixMilli(p.next))}, Follow: true, LabelReferences: true,
		Step: durationpb.New(a.Step), Delay: durationpb.New(a.Delay), Lookback: durationpb.New(a.Lookback),
	}
	if a.To != promql.Follows {
		r.End = timestamppb.New(time.UnixMilli(a.To))
	}
	return r
}
