package promgrpc

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/promgrpc/exporter/internal/address"
	"github.com/promgrpc/exporter/internal/backoff"
)

// maxRetryDelay bounds the pause that a server may ask for.
const maxRetryDelay = time.Minute

// attempts walks the addresses: it stays where it succeeds and moves on after a
// failure.
type attempts struct {
	addresses []string
	options   *Options
	turn      int              // modulo the number of addresses, the index of the current one
	failures  int              // in a row
	last      map[string]error // by address, since the last success
	renewed   bool             // the credential was, since the last success
}

func (c *Client) newAttempts() attempts {
	return attempts{addresses: c.addresses, options: &c.options}
}

// refresh comes before each attempt and asks which addresses there are.
func (a *attempts) refresh(ctx context.Context) error {
	if a.options.Resolve == nil {
		return nil
	}
	found, err := a.resolve(ctx)
	switch {
	case err == nil:
		a.adopt(found)
	case len(a.addresses) == 0:
		return &Error{Address: "servers", Code: codes.Unavailable, Message: err.Error()}
	}
	return nil
}

func (a *attempts) resolve(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.options.DialTimeout)
	defer cancel()
	found, err := a.options.Resolve(ctx)
	if err == nil && len(found) == 0 {
		err = errNoAddress
	}
	for _, server := range found {
		if err == nil {
			err = address.HostPort(server)
		}
	}
	return found, err
}

// adopt replaces the addresses and stays at the one that was next.
func (a *attempts) adopt(found []string) {
	next := rand.IntN(len(found)) // Otherwise all clients would call the first.
	if len(a.addresses) > 0 {
		next = a.turn
		if i := slices.Index(found, a.address()); i >= 0 {
			next = i
		}
	}
	a.addresses, a.turn = slices.Clone(found), next
}

// address returns the one of this attempt, "" if none is known.
func (a *attempts) address() string {
	if len(a.addresses) == 0 {
		return ""
	}
	return a.addresses[a.turn%len(a.addresses)]
}

func (a *attempts) succeeded() {
	a.failures, a.renewed = 0, false
	clear(a.last)
}

// outdated reports whether a server refused a credential that was renewed meanwhile. It
// says so once: the call is repeated at once, with the new one.
func (a *attempts) outdated(err error) bool {
	var e *Error
	if a.renewed || !errors.As(err, &e) || !e.outdated {
		return false
	}
	a.renewed = true
	return true
}

// move picks an address at random, so that the clients of one server spread.
func (a *attempts) move() { a.turn = rand.IntN(len(a.addresses)) }

// failed moves on to the next address and returns the number of failures in a row.
func (a *attempts) failed(err error) int {
	if a.last == nil {
		a.last = make(map[string]error)
	}
	a.last[a.address()] = err
	a.turn++
	a.failures++
	return a.failures
}

// delay returns the pause before the next attempt. An address that was not tried yet
// is tried at once, but for a little jitter that keeps the clients of a dead server
// from calling the next one all at once.
func (a *attempts) delay(err error) time.Duration {
	var d time.Duration
	if round := a.failures / max(1, len(a.addresses)); round == 0 {
		d = backoff.Jitter(a.options.MinBackoff / 2)
	} else {
		d = backoff.Pause(a.options.MinBackoff, a.options.MaxBackoff, round-1)
	}
	if asked, ok := retryDelay(err); ok {
		// Not earlier, and not all clients at once.
		d = max(d, backoff.Later(min(asked, maxRetryDelay)))
	}
	return d
}

func (a *attempts) unreachable() *UnreachableError {
	u := &UnreachableError{Attempts: a.failures}
	for _, address := range append([]string{""}, a.addresses...) {
		if err := a.last[address]; err != nil {
			u.Errors = append(u.Errors, err)
		}
	}
	return u
}
