package cli

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

var errSince = errors.New("want a duration such as 10m or 1d, a time such as 2026-01-02T15:04:05Z, milliseconds since 1970 such as 1767366245000, or seconds with a decimal point such as 1767366245.0")

// The bounds of the times that a request can carry.
var (
	firstInstant = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	lastInstant  = time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC)
)

// parseSince parses a duration before now, or a time in any form that the outputs
// print: RFC 3339 in tables, Go's in templates, seconds with a decimal point in
// OpenMetrics, and milliseconds elsewhere. A time before all that a request can
// carry becomes the first of them.
func parseSince(s string, now time.Time) (time.Time, error) {
	t, err := parseInstant(s, now)
	switch {
	case err != nil:
		return t, err
	case t.Before(firstInstant):
		return firstInstant, nil
	case t.After(lastInstant):
		return t, errors.New("it is after the year 9999")
	}
	return t, nil
}

func parseInstant(s string, now time.Time) (time.Time, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.UnixMilli(ms), nil
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil && strings.Trim(s, "-.0123456789") == "" && math.Abs(seconds) < math.MaxInt64/1e3 {
		return time.UnixMilli(int64(math.Round(seconds * 1000))), nil
	}
	if d, err := model.ParseDuration(s); err == nil {
		return now.Add(-time.Duration(d)), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999 -0700 MST"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errSince
}

// likeSeconds reports whether milliseconds are so small that they were probably
// meant as seconds.
func likeSeconds(s string) bool {
	ms, err := strconv.ParseInt(s, 10, 64)
	return err == nil && ms >= 1e9 && ms < 1e11
}
