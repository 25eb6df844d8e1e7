package promgrpc

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
)

// exhaustedFactor stretches the pause after a server said that it has too much
// to do already.
const exhaustedFactor = 10

// attempts walks the addresses: it stays where it succeeds and moves on upon
// failure.
type attempts struct {
	addresses []string
	options   *Options
	position  int              // counts on; modulo the addresses it is the index
	failures  int              // in a row
	last      map[string]error // by address, since the last success
}

func (a *attempts) index() int { return a.position % len(a.addresses) }

func (a *attempts) address() string { return a.addresses[a.index()] }

func (a *attempts) succeeded() {
	a.failures = 0
	clear(a.last)
}

// failed moves on to the next address and returns the failures in a row.
func (a *attempts) failed(err error) int {
	if a.last == nil {
		a.last = make(map[string]error)
	}
	a.last[a.address()] = err
	a.position++
	a.failures++
	return a.failures
}

// delay before the next attempt. An address that was not tried yet is tried at
// once, but for a little jitter that keeps the clients of a dead server from
// falling upon the next one all together.
func (a *attempts) delay(err error) time.Duration {
	var d time.Duration
	if round := a.failures / len(a.addresses); round == 0 {
		d = a.options.MinBackoff / 2
	} else {
		d = a.options.MaxBackoff
		if shift := round - 1; shift < 30 && a.options.MinBackoff<<shift < d {
			d = a.options.MinBackoff << shift
		}
	}
	var e *Error
	if errors.As(err, &e) && e.Code == codes.ResourceExhausted {
		d = max(d, exhaustedFactor*a.options.MinBackoff)
	}
	return d/2 + rand.N(d/2+1)
}

func (a *attempts) unreachable() *UnreachableError {
	u := &UnreachableError{Attempts: a.failures}
	for _, address := range a.addresses {
		if err := a.last[address]; err != nil {
			u.Errors = append(u.Errors, err)
		}
	}
	return u
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
