package router

import (
	"context"
	"errors"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	metricsv1 "github.com/promgrpc/exporter/gen/go/promgrpc/metrics/v1"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/router/groups"
)

// answered is what a group has said.
type answered[R proto.Message] struct {
	group  *groups.Group
	answer R
}

// askAll makes a call with one answer at all groups at once, in its turn. If one is away it
// waits, or refuses, as the caller says. While it waits it has no turn, and holds nothing of
// what the others said.
func askAll[R proto.Message](ctx context.Context, l *lookup, procedure string, request proto.Message, empty func() R) ([]answered[R], error) {
	before, until := l.held, time.Now().Add(l.router.config.Timeout)
	for {
		if err := l.begin(ctx); err != nil {
			return nil, err
		}
		all, err := askOnce(ctx, l, procedure, request, empty)
		away := new(refusal.AwayError)
		if !errors.As(err, &away) {
			return all, err
		}
		if err := l.giveBack(before); err != nil {
			return nil, err
		}
		late := time.Until(until) < betweenAttempts || errors.Is(context.Cause(ctx), context.DeadlineExceeded)
		if late || l.when == metricsv1.WhenAway_WHEN_AWAY_REFUSE {
			return nil, away
		}
		if err := l.await(ctx, away, until); err != nil {
			return nil, err
		}
	}
}

// askOnce asks all groups once.
func askOnce[R proto.Message](ctx context.Context, l *lookup, procedure string, request proto.Message, empty func() R) ([]answered[R], error) {
	list, _ := l.router.groups.Now()
	all := make([]answered[R], len(list))
	errs := make([]error, len(list))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for i, g := range list {
		wg.Go(func() {
			all[i] = answered[R]{g, empty()}
			if errs[i] = l.ask(ctx, g, procedure, request, all[i].answer); errs[i] != nil {
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
