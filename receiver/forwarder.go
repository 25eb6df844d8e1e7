package receiver

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/internal/discovery"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/throttle"
)

const (
	// leastBackoff and mostBackoff bound the pause between two dials.
	leastBackoff = 100 * time.Millisecond
	mostBackoff  = 5 * time.Second
	// farewell is how long batches under way may take when a forwarder is
	// taken off the list.
	farewell = 10 * time.Second
)

// forwarder keeps a connection to one forwarder for as long as it runs.
type forwarder struct {
	instance discovery.Instance
	options  link.Options
	log      *throttle.Logger
	metrics  *metrics

	mu      sync.Mutex
	session *session // Nil while there is no connection.
	err     error    // Why not.
}

// current returns the session, or why there is none.
func (f *forwarder) current() (*session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.session != nil && f.session.hasEnded() {
		return nil, errLost
	}
	return f.session, f.err
}

// set notes the session, or why there is none. The gauge counts, since another instance
// may be at the same address while this one drains.
func (f *forwarder) set(s *session, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	up := f.metrics.forwarderUp.WithLabelValues(f.instance.Address)
	switch was, is := f.session != nil, s != nil; {
	case is && !was:
		up.Inc()
	case was && !is:
		up.Dec()
	}
	f.session, f.err = s, err
}

// run dials again and again until ctx ends.
func (f *forwarder) run(ctx context.Context) {
	failures := 0
	silent := false // One line a change of state, not one a dial.
	for {
		err := f.connect(ctx, func() { failures, silent = 0, false })
		if ctx.Err() != nil {
			return
		}
		f.set(nil, err)
		if !silent {
			f.log.Log(slog.LevelWarn, "forwarder not connected", "forwarder", f.instance.Address, "err", err)
			silent = true
		}
		if backoff.Sleep(ctx, backoff.Pause(leastBackoff, mostBackoff, failures)) != nil {
			return
		}
		failures++
	}
}

// connect serves one connection until it ends.
func (f *forwarder) connect(ctx context.Context, connected func()) error {
	conn, welcome, err := link.Dial(ctx, f.instance.Address, &linkv1.Hello{Role: linkv1.Role_ROLE_RECEIVER}, f.options)
	if err != nil {
		return err
	}
	defer conn.Close()
	connected()
	s := newSession(conn, welcome)
	f.set(s, nil)
	f.log.Log(slog.LevelInfo, "forwarder connected", "forwarder", f.instance.Address, "instance", welcome.GetInstance())

	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { f.leave(ctx, s, ended) })
	err = s.receive()
	close(ended)
	wg.Wait()
	f.set(nil, err)
	if errors.Is(err, link.ErrInterrupted) {
		_ = conn.CloseWith("shutting down")
	}
	return err
}

// leave ends the session when ctx has ended and the batches under way are answered.
func (f *forwarder) leave(ctx context.Context, s *session, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	f.set(nil, errors.New("taken off the list"))
	timeout := time.NewTimer(farewell)
	defer timeout.Stop()
	select {
	case <-ended:
	case <-s.drained():
	case <-timeout.C:
	}
	s.conn.Interrupt()
}

// write sends a batch by the session, and says whether another forwarder
// should be preferred from now on.
func (f *forwarder) write(ctx context.Context, s *session, batch *linkv1.Batch) (v *linkv1.Verdict, healthy bool, err error) {
	v, err = s.write(ctx, batch)
	outcome := "ok"
	healthy = true
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		outcome, healthy = "timeout", false
	case errors.Is(err, context.Canceled): // The sender is gone, which says nothing.
		outcome = "canceled"
	case errors.Is(err, link.ErrFrameTooLarge):
		outcome = "too_large"
	case err != nil:
		outcome, healthy = "lost", false
	case v.GetCode() == linkv1.Code_CODE_INVALID:
		outcome = "invalid"
	case v.GetCode() == linkv1.Code_CODE_TOO_LARGE:
		outcome = "too_large"
	case v.GetCode() != linkv1.Code_CODE_OK:
		outcome, healthy = "unavailable", false
	}
	f.metrics.forwarderUsed.WithLabelValues(f.instance.Address, outcome).Inc()
	return v, healthy, err
}
