package call

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Heartbeats are sent while something is done, which ends with the call, and when one
// cannot be sent.
func TestWhile(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	c := &Call{ctx: ctx}
	soon := func() time.Duration { return time.Millisecond }
	done := errors.New("done")
	beats := make(chan struct{})
	beat := func() error { beats <- struct{}{}; return nil }
	require.ErrorIs(t, c.While(func(context.Context) error {
		<-beats
		<-beats
		return done
	}, soon, beat), done)

	untilOver := func(ctx context.Context) error {
		<-ctx.Done()
		return done
	}
	gone := errors.New("gone")
	err := c.While(untilOver, soon, func() error { return gone })
	require.ErrorIs(t, err, gone)
	require.ErrorIs(t, err, done)

	never := func() time.Duration { return time.Hour }
	time.AfterFunc(time.Millisecond, func() { cancel(gone) })
	require.Equal(t, gone, c.While(untilOver, never, beat))
}
