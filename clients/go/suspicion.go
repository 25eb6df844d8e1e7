package promgrpc

import (
	"context"
	"fmt"
	"strings"
	"time"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1/metricsv1grpc"

	"github.com/promgrpc/exporter/internal/backoff"
)

// A call is given up after this many certain deaths of servers, or after it broke off
// this often before the first message and no server was shown to be alive.
const (
	maxDeaths = 2
	maxBreaks = 3
)

// maxSuspectPause bounds the pauses of a stream that is not given up, since it was
// served before.
const maxSuspectPause = time.Minute

// SuspectError says that servers died, as far as one can tell, of the very call that
// they were answering, so that it is not sent to more of them.
type SuspectError struct {
	// Breaks is how many attempts broke off in a row.
	Breaks int
	// Deaths is after how many of them the server did not answer any more, or had
	// started after the call was made.
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

// suspicion is that a call kills servers. It grows when an attempt breaks off before
// the first message. Since connections break for other reasons too, the server is
// asked afterwards whether it is alive, and before the next attempt, so that the call
// is sent only to servers that were seen alive.
//
// At an address that leads to several servers, another one may answer. Then nothing
// is certain, and the breaks are counted.
type suspicion struct {
	client *Client
	breaks int     // in a row
	deaths int     // certain ones among them
	errors []error // of the last ones

	status *metricsv1.GetStatusResponse // of the server before this attempt, nil if it was not asked
	sent   time.Time                    // start of this attempt
}

// before comes before an attempt. It returns an error if the server does not answer
// at all.
func (s *suspicion) before(ctx context.Context, address string, t transport) error {
	s.status = nil
	if s.breaks > 0 {
		status, err := s.client.alive(ctx, address, t)
		if err != nil {
			return err
		}
		s.status = status
	}
	s.sent = time.Now()
	return nil
}

// after comes after an attempt that failed before any message. It returns an error
// if the call should not be made any more.
func (s *suspicion) after(ctx context.Context, address string, err error) *SuspectError {
	e, how := brokenOff(err)
	if how == whole {
		return nil
	}
	asked := time.Now()
	status, failure := s.client.aliveAfresh(ctx, address)
	select {
	case <-ctx.Done():
		return nil // The question was cut short.
	default:
	}
	if e, _ := brokenOff(failure); e != nil && e.unread {
		return nil // It was not asked.
	}
	up := status.GetUptime().AsDuration()
	switch {
	case failure != nil && (s.status != nil || notDialled(failure)),
		failure == nil && status.GetUptime() != nil && up < asked.Sub(s.sent):
		s.deaths++
	case failure == nil && how == lost && s.status.GetInstance() != "" &&
		s.status.GetInstance() == status.GetInstance() && up >= time.Since(s.sent):
		return nil // The connection led to this server, which is alive.
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

// pause returns the least time to wait before the next attempt.
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

// alive returns the status of a server, an empty one if it answers with an error of
// its own. It returns an error if the server does not answer.
func (c *Client) alive(ctx context.Context, address string, t transport) (*metricsv1.GetStatusResponse, error) {
	res := new(metricsv1.GetStatusResponse)
	err := c.invoke(ctx, address, t, metricsv1grpc.MetricsService_GetStatus_FullMethodName, &metricsv1.GetStatusRequest{}, res)
	switch {
	case err == nil:
		return res, nil
	case resumable(err):
		if e, _ := brokenOff(err); e != nil {
			e.broke = whole // This is not the suspected call.
		}
		return nil, err
	}
	return &metricsv1.GetStatusResponse{}, nil
}

// aliveAfresh is alive over a new connection.
func (c *Client) aliveAfresh(ctx context.Context, address string) (*metricsv1.GetStatusResponse, error) {
	t, err := c.newTransport(address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = t.close() }()
	return c.alive(ctx, address, t)
}

// notDialled reports whether no connection could be made.
func notDialled(err error) bool {
	e, _ := brokenOff(err)
	return e != nil && e.Dial != nil
}
