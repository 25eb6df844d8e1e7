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
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, c.config.LongestAge()) })
	}
	short := with(DefaultConfig(), leastMaxAge-1)
	require.ErrorContains(t, short.check(), "--stream.max-age")
}

func with(c Config, maxAge time.Duration) Config {
	c.MaxAge = maxAge
	return c
}
