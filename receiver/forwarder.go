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
	"github.com/promgrpc/exporter/receiver/assign"
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
	known   assign.Forwarder
}

// current returns the session, or why there is none.
func (f *forwarder) current() (*session, error) {
	s, _, err := f.fitness()
	return s, err
}

// fitness is current with what is known of the forwarder.
func (f *forwarder) fitness() (*session, assign.Forwarder, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.session != nil && f.session.hasEnded() {
		lost := f.known
		lost.Lost()
		return nil, lost, errLost
	}
	return f.session, f.known, f.err
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
		f.known.Connected(time.Now())
	case was && !is:
		up.Dec()
		f.known.Lost()
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

// write sends a batch by the session.
func (f *forwarder) write(ctx context.Context, s *session, batch *linkv1.Batch) (*linkv1.Verdict, error) {
	v, err := s.write(ctx, batch)
	name, outcome, tells := outcomeOf(v, err)
	f.metrics.forwarderUsed.WithLabelValues(f.instance.Address, name).Inc()
	if tells {
		f.answered(outcome, name)
	}
	return v, err
}

// outcomeOf names what became of a batch, and says what that tells of the forwarder, if it
// tells anything.
func outcomeOf(v *linkv1.Verdict, err error) (name string, o assign.Outcome, tells bool) {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout", assign.Failed, true
	case errors.Is(err, context.Canceled): // The sender is gone.
		return "canceled", 0, false
	case errors.Is(err, link.ErrFrameTooLarge):
		return "too_large", 0, false
	case err != nil:
		return "lost", assign.Failed, true
	}
	switch v.GetCode() {
	case linkv1.Code_CODE_OK:
		return "ok", assign.Taken, true
	case linkv1.Code_CODE_INVALID:
		return "invalid", assign.Taken, true
	case linkv1.Code_CODE_TOO_LARGE:
		return "too_large", 0, false
	case linkv1.Code_CODE_UNCONFIRMED:
		return "unconfirmed", assign.Unconfirmed, true
	case linkv1.Code_CODE_UNDECIDED: // It would be the same at another.
		return "undecided", 0, false
	}
	return "unavailable", assign.Failed, true
}

// answered notes what became of a batch.
func (f *forwarder) answered(o assign.Outcome, name string) {
	f.mu.Lock()
	news := f.known.Answered(o, time.Now())
	f.mu.Unlock()
	if news {
		f.log.Log(slog.LevelWarn, "senders of this forwarder go to another for a while", "forwarder", f.instance.Address, "outcome", name)
	}
}
