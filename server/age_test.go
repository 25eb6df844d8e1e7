package server

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMaxAge(t *testing.T) {
	registered := DefaultConfig()
	registered.Consul = "localhost:8500"
	for name, c := range map[string]struct {
		config Config
		want   time.Duration
	}{
		"alone":                  {DefaultConfig(), 0},
		"registered":             {registered, registeredMaxAge},
		"never, though so":       {with(registered, 0), 0},
		"as long as it was told": {with(DefaultConfig(), time.Hour), time.Hour},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, c.config.maxAge()) })
	}
	short := with(DefaultConfig(), leastMaxAge-1)
	require.ErrorContains(t, short.check(), "--stream.max-age")
}

func with(c Config, maxAge time.Duration) Config {
	c.MaxAge = maxAge
	return c
}

// Ages are below the longest one, and spread over its last fifth.
func TestAgesSpread(t *testing.T) {
	c := with(DefaultConfig(), time.Hour)
	before := time.Now()
	var least, most time.Duration
	for i := range 1000 {
		d := c.age().over.Sub(before)
		if i == 0 {
			least, most = d, d
		}
		least, most = min(least, d), max(most, d)
	}
	require.GreaterOrEqual(t, least, 48*time.Minute)
	require.LessOrEqual(t, most, time.Hour+time.Since(before))
	require.Greater(t, most-least, 10*time.Minute)
	off := with(DefaultConfig(), 0)
	require.False(t, off.age().reached())
}
