package output

import (
	"math"
	"strconv"
	"time"
)

// scale maps values to rows of dots.
type scale struct {
	low, high float64
	ticks     []float64
	step      float64 // between two ticks, 0 if there is no round one
}

// minStep is where powers of ten lose their digits.
const minStep = 1e-300

// newScale returns a scale from low to high or a little more, with about this many
// ticks.
func newScale(low, high float64, ticks int) scale {
	if low == high {
		around := math.Abs(low) / 10
		if low+around == low {
			around = 1 // It is 0, or too small for a tenth.
		}
		low, high = max(low-around, -math.MaxFloat64), min(high+around, math.MaxFloat64)
	}
	s := scale{low: low, high: high}
	step := roundStep((high - low) / float64(ticks))
	if step < minStep || math.IsInf(step, 0) || low+step == low || high-step == high {
		s.ticks = []float64{low, high}
		return s
	}
	first, last := math.Floor(low/step), math.Ceil(high/step)
	if math.IsInf(first*step, 0) || math.IsInf(last*step, 0) || last-first > float64(4*ticks+4) {
		s.ticks = []float64{low, high}
		return s
	}
	s.step, s.low, s.high = step, min(low, first*step), max(high, last*step)
	for i := range int(last-first) + 1 {
		s.ticks = append(s.ticks, (first+float64(i))*step)
	}
	return s
}

// roundStep returns 1, 2 or 5 times a power of ten that is at least this much.
func roundStep(least float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= least {
			return n * power
		}
	}
	return 10 * power
}

// row returns the row of a value, of so many, from the top.
func (s scale) row(v float64, rows int) int {
	part := (v - s.low) / (s.high - s.low)
	if math.IsInf(s.high-s.low, 0) {
		part = (v/2 - s.low/2) / (s.high/2 - s.low/2)
	}
	return rows - 1 - place(part, rows)
}

// place returns which of n places a part from 0 to 1 is at. What is outside, or is no
// number, is at an end.
func place(part float64, n int) int {
	if math.IsNaN(part) {
		part = 0
	}
	return int(math.Round(max(0, min(1, part)) * float64(n-1)))
}

// prefixes of SI by the power of a thousand, from 10^-9 on.
var (
	prefixes      = []string{"n", "µ", "m", "", "k", "M", "G", "T", "P", "E"}
	asciiPrefixes = []string{"n", "u", "m", "", "k", "M", "G", "T", "P", "E"}
)

const unitPrefix = 3

// prefix returns the unit that fits a magnitude, and its prefix. It returns 0 if there
// is none.
func prefix(magnitude float64, unicode bool) (unit float64, name string) {
	if magnitude == 0 || magnitude >= 0.01 && magnitude < 1000 {
		return 1, ""
	}
	names := asciiPrefixes
	if unicode {
		names = prefixes
	}
	n := int(math.Floor(math.Log10(magnitude)/3)) + unitPrefix
	if n < 0 || n >= len(names) {
		return 0, ""
	}
	return math.Pow(1000, float64(n-unitPrefix)), names[n]
}

// maxDecimals is how many a label has at most. Beyond them it is written in full.
const maxDecimals = 9

// label returns a tick's.
func (s scale) label(v float64, unicode bool) string {
	unit, name := prefix(max(math.Abs(s.low), math.Abs(s.high)), unicode)
	if v == 0 {
		return "0"
	}
	if s.step == 0 || unit == 0 {
		return strconv.FormatFloat(v, 'g', 6, 64)
	}
	decimals := max(0, -int(math.Floor(math.Log10(s.step/unit)+1e-9)))
	if decimals > maxDecimals {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strconv.FormatFloat(v/unit, 'f', decimals, 64) + name
}

// shortValue returns a value with four digits and a prefix.
func shortValue(v float64, unicode bool) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 0):
		return map[bool]string{true: "+Inf", false: "-Inf"}[v > 0]
	}
	unit, name := prefix(math.Abs(v), unicode)
	if unit == 0 {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	return strconv.FormatFloat(v/unit, 'g', 4, 64) + name
}

const day = 24 * time.Hour

// roundTimes are distances between the ticks of times.
var roundTimes = []time.Duration{
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	day, 2 * day, 7 * day, 14 * day, 30 * day, 91 * day, 365 * day, 10 * 365 * day,
}

// timeTicks returns the times from start to end that get a label, and the layout of the
// labels, if the labels have so many characters' room.
func timeTicks(start, end int64, room int) (ticks []int64, layout string) {
	for _, every := range roundTimes {
		layout = timeLayout(every, end-start)
		step := every.Milliseconds()
		ticks = ticks[:0]
		if (end-start)/step > int64(room) {
			continue
		}
		for t := start + (step-start%step)%step; t <= end; t += step {
			ticks = append(ticks, t)
		}
		if len(ticks)*(len(layout)+2) <= room {
			break
		}
	}
	return ticks, layout
}

func timeLayout(every time.Duration, span int64) string {
	switch long := span > day.Milliseconds(); {
	case every < time.Second:
		return "15:04:05.0"
	case every < time.Minute:
		return "15:04:05"
	case every < day && !long:
		return "15:04"
	case every < day:
		return "01-02 15:04"
	}
	return "2006-01-02"
}
