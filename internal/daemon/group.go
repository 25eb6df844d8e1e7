package daemon

import (
	"context"
	"errors"
	"fmt"
)

// Group runs actors that need each other. The first that returns stops them
// all, one after the other in the order in which they were added: each has
// returned before the next one's context ends. So an actor may rely on those
// added after it for as long as it drains.
type Group struct {
	actors []*actor
}

type actor struct {
	name string
	run  func(context.Context) error
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// Add adds an actor, which has to return when its context ends. Not after Run.
func (g *Group) Add(name string, run func(ctx context.Context) error) {
	g.actors = append(g.actors, &actor{name: name, run: run, done: make(chan struct{})})
}

// Run runs the actors until ctx ends or one returns, and all have returned. It
// returns the errors of all, apart from context.Canceled.
func (g *Group) Run(ctx context.Context) error {
	if len(g.actors) == 0 {
		return nil
	}
	first := make(chan struct{}, len(g.actors))
	for _, a := range g.actors {
		var actorCtx context.Context
		actorCtx, a.stop = context.WithCancel(context.WithoutCancel(ctx))
		go func() {
			defer close(a.done)
			a.err = a.run(actorCtx)
			first <- struct{}{}
		}()
	}
	select {
	case <-ctx.Done():
	case <-first:
	}
	var errs []error
	for _, a := range g.actors {
		a.stop()
		<-a.done
		if a.err != nil && !errors.Is(a.err, context.Canceled) {
			errs = append(errs, fmt.Errorf("%s: %w", a.name, a.err))
		}
	}
	return errors.Join(errs...)
}
