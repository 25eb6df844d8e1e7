package call

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/h2frames"
)

// writes is how a client takes what is sent, again and again: nothing is sent for a
// while, and then so many bytes take so long.
type writes struct {
	quiet, blocked time.Duration
	bytes          int
}

// A client is cut off by its rate.
func TestStall(t *testing.T) {
	timeout, rate := DefaultBounds().StallTimeout, int64(DefaultBounds().MinRate)
	perSecond := int(rate)
	for name, tt := range map[string]struct {
		writes
		cutAfter time.Duration // 0: never
	}{
		"takes nothing":                     {writes{0, 10 * timeout, h2frames.Large}, timeout},
		"one message a timeout":             {writes{0, timeout - time.Second, h2frames.Large}, 2 * timeout},
		"a byte a time":                     {writes{0, time.Second, 1}, timeout + 2*time.Second},
		"below the rate":                    {writes{0, 2 * time.Second, perSecond}, 3 * timeout},
		"at the rate":                       {writes{0, time.Second, perSecond}, 0},
		"slow within the timeout":           {writes{0, timeout / 2, int(rate * int64(timeout/2/time.Second))}, 0},
		"far above the rate":                {writes{0, time.Second / 10, h2frames.Large}, 0},
		"quiet, and slow then":              {writes{timeout, timeout / 2, 1}, 0},
		"quiet for as long as it is slow":   {writes{time.Second, time.Second, 1}, 0},
		"quiet for less than it is blocked": {writes{time.Second, 3 * time.Second, 1}, 3 * timeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cut := make(chan struct{})
				s := newStall(timeout, rate, func(time.Time) { close(cut) })
				begun := time.Now()
				for time.Since(begun) < 20*timeout && s.reason() == nil {
					time.Sleep(tt.quiet)
					s.before()
					select {
					case <-time.After(tt.blocked):
					case <-cut:
					}
					s.after(tt.bytes)
				}
				if tt.cutAfter == 0 {
					require.NoError(t, s.reason())
					return
				}
				require.ErrorIs(t, s.reason(), errStalled)
				require.LessOrEqual(t, time.Since(begun), tt.cutAfter)
			})
		})
	}
}

// While a write is blocked, what the stream holds is checked.
func TestStallHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tooMuch, looked := errors.New("too much"), 0
		cut := make(chan struct{})
		s := newStall(time.Minute, 1, func(time.Time) { close(cut) })
		s.held = func() error {
			if looked++; looked == 3 {
				return tooMuch
			}
			return nil
		}
		begun := time.Now()
		s.before()
		<-cut
		s.after(0)
		require.Equal(t, tooMuch, s.reason())
		require.Equal(t, 3*heldChecked, time.Since(begun))
	})
}
