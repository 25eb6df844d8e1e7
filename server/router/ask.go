package router

import (
	"context"
	"errors"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/router/groups"
)

// betweenAttempts is how long is waited before a group is asked again.
const betweenAttempts = 100 * time.Millisecond

// answered is what a group has said.
type answered[R proto.Message] struct {
	group  *groups.Group
	answer R
}

// askAll makes a call with one answer at all groups at once. If one is away it waits, or
// refuses, as the caller says.
func askAll[R proto.Message](ctx context.Context, r *Router, when metricsv1.WhenAway, procedure string, request proto.Message, empty func() R) ([]answered[R], error) {
	if err := r.calls.Serving(); err != nil {
		return nil, refusal.Unavailable(err, "")
	}
	list, _ := r.groups.Now()
	all := make([]answered[R], len(list))
	errs := make([]error, len(list))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for i, g := range list {
		wg.Go(func() {
			all[i] = answered[R]{g, empty()}
			if errs[i] = r.ask(ctx, g, when, procedure, request, all[i].answer); errs[i] != nil {
				cancelUnlessAway(errs[i], cancel)
			}
		})
	}
	wg.Wait()
	return all, worst(errs)
}

// cancelUnlessAway ends the calls of the other groups where one says that all is in vain. Of
// those that are away, all are named.
func cancelUnlessAway(err error, cancel func()) {
	if away := new(refusal.AwayError); !errors.As(err, &away) {
		cancel()
	}
}

// worst is what the client is told: what no attempt would cure, or which groups are away.
func worst(errs []error) error {
	var away *refusal.AwayError
	var canceled error
	for _, err := range errs {
		one := new(refusal.AwayError)
		switch {
		case err == nil:
		case errors.As(err, &one):
			if away == nil {
				away = &refusal.AwayError{Cause: one.Cause}
			}
			away.Groups = append(away.Groups, one.Groups...)
		case errors.Is(err, context.Canceled), connect.CodeOf(err) == connect.CodeCanceled:
			canceled = err
		default:
			return err
		}
	}
	if away != nil {
		return away
	}
	return canceled
}

// ask makes a call at one of a group's servers, again and again while none answers.
func (r *Router) ask(ctx context.Context, g *groups.Group, when metricsv1.WhenAway, procedure string, request, response proto.Message) error {
	until := time.Now().Add(r.config.Timeout)
	refuse := when == metricsv1.WhenAway_WHEN_AWAY_REFUSE
	for {
		err := g.Invoke(ctx, procedure, request, response)
		switch {
		case err == nil:
			return nil
		case !groups.Passes(err):
			return err
		case refuse, time.Until(until) < betweenAttempts, errors.Is(context.Cause(ctx), context.DeadlineExceeded):
			return &refusal.AwayError{Groups: []string{g.Name()}, Cause: err}
		}
		if backoff.Sleep(ctx, betweenAttempts) != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			return context.Cause(ctx)
		}
	}
}
