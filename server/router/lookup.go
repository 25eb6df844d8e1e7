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
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/server/answer"
	"github.com/promgrpc/exporter/server/call"
	"github.com/promgrpc/exporter/server/refusal"
	"github.com/promgrpc/exporter/server/router/groups"
)

const (
	// betweenAttempts is how long is waited before a group is asked again.
	betweenAttempts = 100 * time.Millisecond
	// answerTime is how long a group may take to answer. One that takes longer is away.
	answerTime = 30 * time.Second
	// heldCost is how many bytes a byte of a group's answer takes while it is held.
	heldCost = 2
)

// lookup is a call that is answered at once: its turn, and the room of what it holds.
type lookup struct {
	router *Router
	from   call.Caller
	when   metricsv1.WhenAway
	turn   *limit.Hold

	mu   sync.Mutex
	held int64 // bytes of the groups' answers
}

// lookup returns a call that has no turn yet. It has to be ended.
func (r *Router) lookup(from call.Caller, when metricsv1.WhenAway) *lookup {
	return &lookup{router: r, from: from, when: when, turn: r.turns.Hold(from.Peer)}
}

// end lets go of the turn. The room is the call's.
func (l *lookup) end() { l.turn.Release() }

// begin waits for the turn, unless the call has it.
func (l *lookup) begin(ctx context.Context) error {
	if err := l.router.calls.Serving(); err != nil {
		return refusal.Unavailable(err, "")
	}
	if l.turn.Held() > 0 {
		return nil
	}
	return l.turn.Wait(ctx, 1)
}

// room takes room for an answer, besides that of what groups have said.
func (l *lookup) room(bytes int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return answer.Room(l.from.Room)(l.held + bytes)
}

// take takes room for what a group said.
func (l *lookup) take(said proto.Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held += int64(proto.Size(said)) * heldCost
	return answer.Room(l.from.Room)(l.held)
}

// giveBack gives back the turn, and the room of what is not held any more.
func (l *lookup) giveBack(held int64) error {
	l.turn.Release()
	l.held = held
	return l.room(0)
}

// await waits before groups that are away are asked again: until one of them may answer.
func (l *lookup) await(ctx context.Context, away *refusal.AwayError, until time.Time) error {
	within, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	err := backoff.Sleep(within, betweenAttempts)
	for err == nil {
		_, changed := l.router.groups.Now()
		if len(l.router.groups.Away()) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-within.Done():
			err = within.Err()
		}
	}
	if errors.Is(within.Err(), context.DeadlineExceeded) {
		return away
	}
	return context.Cause(ctx)
}

// errAway is of a group that is known to be away: it is not called, since that might take as
// long as the caller has.
var errAway error = connect.NewError(connect.CodeUnavailable, errors.New("none of its servers said how it is when it was asked last"))

// ask makes a call at one of a group's servers.
func (l *lookup) ask(ctx context.Context, g *groups.Group, procedure string, request, response proto.Message) error {
	if g.Away() {
		return &refusal.AwayError{Groups: []string{g.Name()}, Cause: errAway}
	}
	within, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	switch err := g.Invoke(within, procedure, request, response); {
	case err == nil:
		return l.take(response)
	case ctx.Err() == nil && within.Err() != nil, groups.Passes(err) && !errors.Is(context.Cause(ctx), context.Canceled):
		return &refusal.AwayError{Groups: []string{g.Name()}, Cause: err}
	default:
		return err
	}
}
