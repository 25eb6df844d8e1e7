package call

import (
	"context"
	"errors"
	"time"
)

// While has a function do what may take long, and calls beat meanwhile each time that what
// is left of the heartbeat's interval has passed. It returns when the function has. That
// one's context ends with the call, and when beat fails.
func (c *Call) While(work func(context.Context) error, left func() time.Duration, beat func() error) error {
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	for {
		timer := time.NewTimer(left())
		select {
		case err := <-done:
			timer.Stop()
			if c.ctx.Err() != nil {
				return context.Cause(c.ctx)
			}
			return err
		case <-timer.C:
		}
		if err := beat(); err != nil {
			cancel()
			return errors.Join(err, <-done)
		}
	}
}
