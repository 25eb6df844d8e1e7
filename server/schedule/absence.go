package schedule

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/backoff"
	"github.com/promgrpc/exporter/server/refusal"
)

// Absence is what a stream of steps was told of groups that are away: it stands still until
// they are back, or ends.
type Absence struct {
	Clock *Clock
	// Refuse has the stream end with a *[refusal.AwayError].
	Refuse bool
	// Tell tells the client which groups are away, at last none.
	Tell func(groups []string) error
	told []string
}

// Check tells who is away, if others are than the stream was told.
func (a *Absence) Check() error {
	names, _ := a.Clock.Away()
	return a.are(names)
}

// Back is Check after something that needed all groups went well.
func (a *Absence) Back() error {
	if len(a.told) == 0 {
		return nil
	}
	return a.Check()
}

func (a *Absence) are(names []string) error {
	switch {
	case slices.Equal(names, a.told):
		return nil
	case a.Refuse:
		return &refusal.AwayError{Groups: names}
	}
	a.told = names
	return a.Tell(names)
}

// Wait is [Clock.Wait], with the client told who is away meanwhile.
func (a *Absence) Wait(ctx context.Context, ms int64) error {
	for {
		names, changed := a.Clock.Away()
		if err := a.are(names); err != nil {
			return err
		}
		if err := a.Clock.waitUnless(ctx, ms, changed); !errors.Is(err, errChanged) {
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
	if err := a.are(away.Groups); err != nil {
		return err
	}
	return backoff.Sleep(ctx, betweenAttempts)
}
