package main

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/stretchr/testify/assert"
)

func TestRule(t *testing.T) {
	stale := math.Float64frombits(value.StaleNaN)
	type sample struct {
		second int
		value  float64
		want   string
	}
	for name, samples := range map[string][]sample{
		"fires once, resolves once":  {{0, 31, ""}, {10, 32, ""}, {20, 33, "firing"}, {30, 34, ""}, {40, 30, "resolved"}, {50, 29, ""}},
		"too short":                  {{0, 31, ""}, {19, 31, ""}, {20, 30, ""}, {21, 31, ""}, {40, 31, ""}, {41, 31, "firing"}},
		"ends while it fires":        {{0, 31, ""}, {20, 31, "firing"}, {30, stale, "gone"}, {40, 20, ""}},
		"ends before it fires":       {{0, 31, ""}, {10, stale, ""}, {20, 31, ""}, {40, 31, "firing"}},
		"NaN is not above":           {{0, 31, ""}, {20, math.NaN(), ""}, {30, 31, ""}},
		"infinity is":                {{0, math.Inf(1), ""}, {20, math.Inf(1), "firing"}},
		"what comes late is skipped": {{0, 31, ""}, {20, 31, "firing"}, {10, 20, ""}, {15, stale, ""}, {30, 20, "resolved"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRule(30, 20*time.Second)
			for _, s := range samples {
				got := r.observe("series", time.Unix(int64(s.second), 0), s.value)
				assert.Equal(t, s.want, got, "at %d s", s.second)
			}
		})
	}
}
