package schedule

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/server/refusal"
)

// Absence is what a stream of steps was told of groups that are away, or are silent where it
// waits for their time: it stands still until they are back, or ends. It belongs to the
// goroutine of the stream.
type Absence struct {
	Clock *Clock
	// Refuse has the stream end with a *[refusal.AwayError].
	Refuse bool
	// Tell tells the client which groups are away, at last none.
	Tell func(groups []string) error
	told []string
}

// Check tells who is away, if others are than the stream was told.
func (a *Absence) Check() error { return a.are(&refusal.AwayError{Groups: a.Clock.Away()}) }

// Meanwhile is Check while something goes on that groups may hold up. Those of which the
// stream was told may be back by then: it is told so once that has gone well.
func (a *Absence) Meanwhile() error {
	away := a.Clock.Away()
	if !slices.ContainsFunc(away, func(name string) bool { return !slices.Contains(a.told, name) }) {
		return nil
	}
	return a.are(&refusal.AwayError{Groups: away})
}

// Back is Check after something that needed all groups went well.
func (a *Absence) Back() error {
	if len(a.told) == 0 {
		return nil
	}
	return a.Check()
}

func (a *Absence) are(away *refusal.AwayError) error {
	switch {
	case slices.Equal(away.Groups, a.told):
		return nil
	case a.Refuse:
		return away
	}
	a.told = away.Groups
	return a.Tell(away.Groups)
}

// Wait is [Clock.Wait], with the client told meanwhile who holds time back.
func (a *Absence) Wait(ctx context.Context, ms int64) error {
	for {
		names, changed := a.Clock.HeldBy()
		if err := a.are(&refusal.AwayError{Groups: names, Time: true}); err != nil {
			return err
		}
		if err := a.Clock.waitUnless(ctx, ms, changed); !errors.Is(err, errChanged) {
			return err
		}
	}
}

// Reach is [Clock.Reach], as work of what sends heartbeats meanwhile, again and again for as
// long as groups hold time back, with the client told who does.
func (a *Absence) Reach(while func(work func(context.Context) error) error, ms int64, most time.Duration, late error) error {
	if err := a.Check(); err != nil {
		return err
	}
	for {
		err := while(func(ctx context.Context) error { return a.Clock.Reach(ctx, ms, most, late) })
		names, _ := a.Clock.HeldBy()
		if len(names) == 0 || !errors.Is(err, late) {
			return err
		}
		if err := a.are(&refusal.AwayError{Groups: names, Time: true}); err != nil {
			return err
		}
	}
}

// betweenAttempts is how long is waited before what needs a group is tried again.
const betweenAttempts = time.Second

// Again returns nil once what failed may be tried again, since the groups that it needs
// were away; other errors as they are.
func (a *Absence) Again(ctx context.Context, err error) error {
	var away *refusal.AwayError
	if !errors.As(err, &away) || a.Refuse {
		return err
	}
	if err := a.are(away); err != nil {
		return err
	}
	return backoff.Sleep(ctx, betweenAttempts)
}
