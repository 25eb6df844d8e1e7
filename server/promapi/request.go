package promapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// request is one whose parameters have been read.
type request struct {
	url.Values
	ctx    context.Context
	caller Caller
	// label that is named in the path.
	label string
}

// match is the parameter of selectors.
const match = "match[]"

// formType is what parameters are posted as.
const formType = "application/x-www-form-urlencoded"

// request reads the parameters.
func (a *API) request(r *http.Request, label string) (*request, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, &failure{status: http.StatusUnsupportedMediaType, kind: badData, text: "a compressed request is not understood"}
	}
	if r.Method == http.MethodPost {
		kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if kind != formType && r.ContentLength != 0 {
			return nil, &failure{status: http.StatusUnsupportedMediaType, kind: badData, text: "parameters are posted as " + formType}
		}
	}
	if err := r.ParseForm(); err != nil {
		return nil, unreadable(err)
	}
	return &request{Values: r.Form, ctx: r.Context(), caller: a.Caller(r.Context()), label: label}, nil
}

// until returns the context of the request, which ends when its timeout has passed.
func (r *request) until() (context.Context, context.CancelFunc, error) {
	text := r.Get("timeout")
	if text == "" {
		return r.ctx, func() {}, nil
	}
	timeout, err := parseDuration(text)
	if err != nil {
		return nil, nil, invalid("timeout", err)
	}
	ctx, cancel := context.WithTimeout(r.ctx, timeout)
	return ctx, cancel, nil
}

// The bounds of times that are left out.
var (
	minTime = time.Unix(math.MinInt64/1000+62135596801, 0).UTC()
	maxTime = time.Unix(math.MaxInt64/1000-62135596801, 999999999).UTC()
	// As text they have more digits than [time.Parse] takes.
	minTimeText = minTime.Format(time.RFC3339Nano)
	maxTimeText = maxTime.Format(time.RFC3339Nano)
)

// time returns a time in ms, one for what is left out.
func (r *request) time(name string, otherwise time.Time) (int64, error) {
	text := r.Get(name)
	if text == "" {
		return otherwise.UnixMilli(), nil
	}
	ms, err := parseTime(text)
	if err != nil {
		return 0, invalid(name, fmt.Errorf("invalid time value for '%s': %w", name, err))
	}
	return ms, nil
}

// between returns the times of a range that may be open.
func (r *request) between() (start, end int64, err error) {
	if start, err = r.time("start", minTime); err != nil {
		return 0, 0, err
	}
	end, err = r.time("end", maxTime)
	return start, end, err
}

// parseTime reads a time as Prometheus does, to ms.
func parseTime(text string) (int64, error) {
	if t, err := strconv.ParseFloat(text, 64); err == nil {
		// NaN is not within.
		if !(t >= float64(minTime.Unix()) && t <= float64(maxTime.Unix())) {
			return 0, fmt.Errorf("cannot parse %q to a valid timestamp", excerpt(text))
		}
		seconds, rest := math.Modf(t)
		return int64(seconds)*1000 + int64(math.Round(rest*1000)), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t.UnixMilli(), nil
	}
	switch text {
	case minTimeText:
		return minTime.UnixMilli(), nil
	case maxTimeText:
		return maxTime.UnixMilli(), nil
	}
	return 0, fmt.Errorf("cannot parse %q to a valid timestamp", excerpt(text))
}

// parseDuration reads a duration as Prometheus does: in seconds, or with units.
func parseDuration(text string) (time.Duration, error) {
	if d, err := strconv.ParseFloat(text, 64); err == nil {
		ns := d * float64(time.Second)
		if !(ns >= math.MinInt64 && ns < math.MaxInt64) {
			return 0, fmt.Errorf("cannot parse %q to a valid duration. It overflows int64", excerpt(text))
		}
		return time.Duration(ns), nil
	}
	if d, err := model.ParseDuration(text); err == nil {
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("cannot parse %q to a valid duration", excerpt(text))
}

// limit returns how many entries are wanted, 0 for all.
func (r *request) limit() (int, error) {
	text := r.Get("limit")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	switch {
	case err != nil:
		return 0, invalid("limit", err)
	case n < 0:
		return 0, invalid("limit", errors.New("limit must be non-negative"))
	}
	return n, nil
}

// matchers returns the sets of matchers of the request, none for every series. Its error
// is about a parameter, as [inText] has it.
func (a *API) matchers(r *request, parameter string) ([][]*labels.Matcher, error) {
	texts := r.Values[match]
	if len(texts) == 0 {
		return nil, nil
	}
	sets, err := a.Engine.ParseSelectors(r.ctx, r.caller.Viewer, texts)
	if err != nil {
		return nil, inText(parameter, err)
	}
	for _, set := range sets {
		if !selects(set) {
			return nil, bad(match + " must contain at least one non-empty matcher")
		}
	}
	return sets, nil
}

// selects says whether a set of matchers needs any label.
func selects(set []*labels.Matcher) bool {
	for _, m := range set {
		if !m.Matches("") {
			return true
		}
	}
	return false
}
