package backoff

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const longest = time.Duration(math.MaxInt64)

func TestDoubled(t *testing.T) {
	for _, test := range []struct {
		name        string
		least, most time.Duration
		times       int
		want        time.Duration
	}{
		{"first", 100, 1000, 0, 100},
		{"second", 100, 1000, 1, 200},
		{"fourth", 100, 1000, 3, 800},
		{"most", 100, 1000, 4, 1000},
		{"exactly most", 100, 800, 3, 800},
		{"odd most", 100, 801, 4, 801},
		{"for days", 100, 1000, math.MaxInt, 1000},
		{"most below least", 100, 50, 0, 50},
		{"most below least, later", 100, 50, 3, 50},
		{"no failures", 100, 1000, -1, 100},
		{"no overflow", 3, longest, 62, longest},
		{"as far as it goes", 1, longest, 62, 1 << 62},
		{"no pause", 0, 1000, math.MaxInt, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.want, doubled(test.least, test.most, test.times))
		})
	}
}

func TestDrawn(t *testing.T) {
	for name, test := range map[string]struct {
		draw     func() time.Duration
		from, to time.Duration
	}{
		"pause":            {func() time.Duration { return Pause(2, 100, 2) }, 4, 8},
		"longest pause":    {func() time.Duration { return Pause(2, 12, 9) }, 6, 12},
		"jitter":           {func() time.Duration { return Jitter(10) }, 5, 10},
		"odd jitter":       {func() time.Duration { return Jitter(5) }, 3, 5},
		"least jitter":     {func() time.Duration { return Jitter(1) }, 1, 1},
		"no jitter":        {func() time.Duration { return Jitter(0) }, 0, 0},
		"jitter of less":   {func() time.Duration { return Jitter(-5) }, 0, 0},
		"later":            {func() time.Duration { return Later(10) }, 10, 15},
		"no later":         {func() time.Duration { return Later(0) }, 0, 0},
		"later than never": {func() time.Duration { return Later(-5) }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			seen := map[time.Duration]bool{}
			for range 10000 {
				d := test.draw()
				require.GreaterOrEqual(t, d, test.from)
				require.LessOrEqual(t, d, test.to)
				seen[d] = true
			}
			require.Len(t, seen, int(test.to-test.from)+1, "all of them come")
		})
	}
}

func TestSleep(t *testing.T) {
	before := time.Now()
	require.NoError(t, Sleep(t.Context(), time.Millisecond))
	require.GreaterOrEqual(t, time.Since(before), time.Millisecond)

	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	require.ErrorIs(t, Sleep(ctx, longest), why)
}
