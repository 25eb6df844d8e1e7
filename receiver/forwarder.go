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
	pool     *pool

	mu      sync.Mutex
	session *session // Nil while there is no connection.
	err     error    // Why not.
	known   assign.Forwarder
}

var (
	errUndialled = errors.New("not dialled yet")
	// errMoved ends a link that says an older placement.
	errMoved = errors.New("it is dialled again, as the groups file has changed")
)

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
	up := f.pool.metrics.forwarderUp.WithLabelValues(f.pool.group, f.instance.Address)
	switch was, is := f.session != nil, s != nil; {
	case is && !was:
		up.Inc()
		f.known.Connected(time.Now())
	case was && !is:
		up.Dec()
		f.known.Lost()
	}
	f.session, f.err = s, err
	f.pool.changed.Wake()
}

// run dials again and again until ctx ends.
func (f *forwarder) run(ctx context.Context) {
	failures := 0
	silent, misplaced := false, false // One line a change of state, not one a dial.
	for {
		hello, moved := f.pool.hello()
		err := f.connect(ctx, hello, moved, func() { failures, silent = 0, false })
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errMoved) {
			continue
		}
		f.set(nil, err)
		if now := f.pool.misplaced(hello, err); now != misplaced {
			silent, misplaced = false, now
		}
		if !silent {
			f.pool.log.Log(slog.LevelWarn, "forwarder not connected", append(f.names(), "err", err)...)
			silent = true
		}
		pause := time.NewTimer(backoff.Pause(leastBackoff, mostBackoff, failures))
		select {
		case <-ctx.Done():
		case <-moved:
			silent = false // Another placement may be refused for another reason.
		case <-pause.C:
		}
		pause.Stop()
		failures++
	}
}

// names is what log lines call the forwarder.
func (f *forwarder) names() []any {
	if f.pool.group == "" {
		return []any{"forwarder", f.instance.Address}
	}
	return []any{"forwarder", f.instance.Address, "group", f.pool.group}
}

// connect serves one connection until it ends.
func (f *forwarder) connect(ctx context.Context, hello *linkv1.Hello, moved <-chan struct{}, connected func()) error {
	conn, welcome, err := link.Dial(ctx, f.instance.Address, hello, f.pool.options)
	if err != nil {
		return err
	}
	defer conn.Close()
	connected()
	s := newSession(conn, hello, welcome)
	f.set(s, nil)
	f.pool.log.Log(slog.LevelInfo, "forwarder connected", append(f.names(), "instance", welcome.GetInstance())...)

	ended := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { f.leave(ctx, moved, s, ended) })
	err = s.receive()
	close(ended)
	wg.Wait()
	interrupted := errors.Is(err, link.ErrInterrupted)
	if interrupted && ctx.Err() == nil {
		_ = conn.CloseWith("dialling again, as the groups file has changed")
		return errMoved
	}
	f.set(nil, err)
	if interrupted {
		_ = conn.CloseWith("shutting down")
	}
	return err
}

// leave ends the session when ctx has ended, or when there is another placement, and the
// batches under way are answered.
func (f *forwarder) leave(ctx context.Context, moved <-chan struct{}, s *session, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
		f.set(nil, errors.New("taken off the list"))
	case <-moved:
		f.set(nil, errMoved)
	}
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
	f.pool.metrics.forwarderUsed.WithLabelValues(f.pool.group, f.instance.Address, name).Inc()
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
		f.pool.log.Log(slog.LevelWarn, "senders of this forwarder go to another for a while", append(f.names(), "outcome", name)...)
	}
}
