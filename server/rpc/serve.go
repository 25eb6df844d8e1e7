package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Drain is how the calls end.
type Drain struct {
	// Begin is called once no more calls should come.
	Begin func()
	// Delay for which they are served all the same.
	Delay time.Duration
	// Timeout that calls have to end after that.
	Timeout time.Duration
	Logger  *slog.Logger
}

// Serve serves the connections of a listener until the service is closed.
func (s *Service) Serve(l net.Listener) error { return s.http.Serve(s.bounded(l)) }

// Run serves the connections of a listener until ctx ends, and then drains: streams end
// with the cursors to resume at.
func (s *Service) Run(ctx context.Context, l net.Listener, d Drain) error {
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	d.Logger.Info("draining", "streams", s.Calls.Count(), "delay", d.Delay)
	d.Begin()
	s.readiness.Wake()
	select {
	case <-time.After(d.Delay):
	case err := <-failed:
		return err
	}
	s.Calls.Drain()
	timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.Timeout)
	defer cancel()
	s.unused.Close()
	if err := s.http.Shutdown(timeout); err != nil {
		_ = s.http.Close()
		d.Logger.Warn("calls broken off", "after", d.Timeout)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
