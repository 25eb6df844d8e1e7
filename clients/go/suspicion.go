package promgrpc

import (
	"context"
	"fmt"
	"strings"
	"time"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"

	"github.com/promgrpc/exporter/internal/backoff"
)

// A call is not made any more after so many servers died of it, or after it broke
// so often before the first message without showing that the server lives.
const (
	maxDeaths = 2
	maxBreaks = 3
)

// maxSuspectPause bounds the pauses of a stream that goes on all the same, since
// it was served before.
const maxSuspectPause = time.Minute

// SuspectError says that servers died, as far as one can tell, of the very call
// that they were answering, so that it is not carried on to the next ones.
type SuspectError struct {
	// Breaks is how many attempts broke off in a row.
	Breaks int
	// Deaths are those of them after which the server did not answer any more,
	// or had started after the call was made.
	Deaths int
	// Errors of the last ones, oldest first.
	Errors []error
}

func (e *SuspectError) Error() string {
	parts := make([]string, len(e.Errors))
	for i, err := range e.Errors {
		parts[i] = err.Error()
	}
	what := fmt.Sprintf("%d servers died while they answered this call", e.Deaths)
	if e.Deaths < maxDeaths {
		what = fmt.Sprintf("this call broke off %d times before its answer began, and servers may have died of it", e.Breaks)
	}
	return what + ": " + strings.Join(parts, "; ")
}

// Unwrap returns the errors of the attempts.
func (e *SuspectError) Unwrap() []error { return e.Errors }

// suspicion is that servers die of a call. It grows when an attempt breaks off
// before the first message. Since connections break for other reasons too, the
// server is asked afterwards whether it lives; and beforehand at the next attempt,
// so that the call is given only to servers that were seen alive.
//
// At an address that leads to several servers, who is asked afterwards may be
// another one. Then nothing is certain, and the breaks are counted.
type suspicion struct {
	client *Client
	breaks int     // in a row
	deaths int     // of them, those that are certain
	errors []error // of the last ones

	before *metricsv1.GetStatusResponse // what the server said ahead of this attempt, nil: it was not asked
	sent   time.Time                    // when this attempt began
}

// begin comes ahead of an attempt. Its error is that of a server which does not
// answer anything now.
func (s *suspicion) begin(ctx context.Context, address string, t transport) error {
	s.before = nil
	if s.breaks > 0 {
		before, err := s.client.alive(ctx, address, t)
		if err != nil {
			return err
		}
		s.before = before
	}
	s.sent = time.Now()
	return nil
}

// broke takes in what an attempt ended with before any message. It returns an
// error when the call should not be made any more.
func (s *suspicion) broke(ctx context.Context, address string, err error) *SuspectError {
	e, how := brokenOff(err)
	if how == whole {
		return nil
	}
	asked := time.Now()
	after, failure := s.client.askAnew(ctx, address)
	select {
	case <-ctx.Done():
		return nil // The server was not asked to the end.
	default:
	}
	up := after.GetUptime().AsDuration()
	switch {
	case failure != nil && (s.before != nil || failure.Dial != nil),
		failure == nil && after.GetUptime() != nil && up < asked.Sub(s.sent):
		s.deaths++
	case failure == nil && how == lost && s.before.GetInstance() != "" &&
		s.before.GetInstance() == after.GetInstance() && up >= time.Since(s.sent):
		return nil // The connection led to this server, which lives.
	}
	s.breaks++
	s.errors = append(s.errors[max(0, len(s.errors)-maxBreaks+1):], e)
	if s.deaths < maxDeaths && s.breaks < maxBreaks {
		return nil
	}
	return &SuspectError{Breaks: s.breaks, Deaths: s.deaths, Errors: s.errors}
}

// clear comes with each message.
func (s *suspicion) clear() { s.breaks, s.deaths, s.errors = 0, 0, nil }

// pause is how long to wait at least before the next attempt.
func (s *suspicion) pause() time.Duration {
	if s.breaks == 0 {
		return 0
	}
	o := &s.client.options
	if over := max(s.breaks-maxBreaks, s.deaths-maxDeaths); over >= 0 {
		return backoff.Pause(o.MaxBackoff, maxSuspectPause, over)
	}
	return backoff.Pause(10*o.MinBackoff, o.MaxBackoff, s.breaks-1)
}

// alive returns what a server says of itself, or nothing of it if it gives any
// other status than UNAVAILABLE. The error is that of one that does not answer.
func (c *Client) alive(ctx context.Context, address string, t transport) (*metricsv1.GetStatusResponse, *Error) {
	res := new(metricsv1.GetStatusResponse)
	e := c.invoke(ctx, address, t, metricsv1.MetricsService_GetStatus_FullMethodName, &metricsv1.GetStatusRequest{}, res)
	switch {
	case e == nil:
		return res, nil
	case resumable(e):
		e.broke = whole // It is not the call that is suspected.
		return nil, e
	}
	return &metricsv1.GetStatusResponse{}, nil
}

// askAnew is alive over a connection of its own.
func (c *Client) askAnew(ctx context.Context, address string) (*metricsv1.GetStatusResponse, *Error) {
	t, err := c.newTransport(address)
	if err != nil {
		return nil, newError(address, err)
	}
	defer func() { _ = t.close() }()
	return c.alive(ctx, address, t)
}
