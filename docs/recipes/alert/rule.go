package main

import (
	"time"

	"github.com/prometheus/prometheus/model/value"
)

// rule is a value that a series must not be above for a time. Time is that of
// the samples, so that a replay gives the same answers.
type rule struct {
	above  float64
	hold   time.Duration
	series map[string]*state // that are above, by their labels
}

// state of a series that is above.
type state struct {
	since  time.Time
	last   time.Time
	firing bool
}

func newRule(above float64, hold time.Duration) *rule {
	return &rule{above: above, hold: hold, series: make(map[string]*state)}
}

// observe takes a sample and returns what it changes: "firing" when the series
// has been above for the time, "resolved" when it is not any more, "gone" when
// it has ended while it was, and "" otherwise.
func (r *rule) observe(series string, at time.Time, v float64) string {
	s := r.series[series]
	switch {
	case s != nil && at.Before(s.last):
		return "" // It came late and is about the past.
	case value.IsStaleNaN(v):
		return r.end(series, "gone")
	case v > r.above:
	default: // NaN, too.
		return r.end(series, "resolved")
	}
	if s == nil {
		s = &state{since: at}
		r.series[series] = s
	}
	s.last = at
	if s.firing || at.Sub(s.since) < r.hold {
		return ""
	}
	s.firing = true
	return "firing"
}

func (r *rule) end(series, how string) string {
	s := r.series[series]
	delete(r.series, series)
	if s == nil || !s.firing {
		return ""
	}
	return how
}
