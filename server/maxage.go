package server

import "time"

const (
	// registeredMaxAge is how long followers may be spread unevenly after a
	// server came or went. A move costs a stream its labels once more.
	registeredMaxAge = 30 * time.Minute
	// leastMaxAge keeps streams from doing little else than to move.
	leastMaxAge = time.Second
)

func (c *Config) maxAge() time.Duration {
	switch {
	case c.MaxAge >= 0:
		return c.MaxAge
	case c.Consul != "":
		return registeredMaxAge
	}
	return 0
}
