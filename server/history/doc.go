// Package history finds what the segments on disk hold, by series: a range of a few
// series reads what it selects, not all that came in the meantime.
package history
