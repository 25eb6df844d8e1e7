// Package retirement says which logs a server gives up, so that those have places that
// live.
//
// Guaranteed: what comes out depends on the arguments alone. A log that somebody feeds, or
// fed not long ago, stays. So does one of which something is not in the bucket, where there
// is one, unless the disk holds far more than it may.
//
// Not guaranteed: that there is a place afterwards. Where nothing may go without being
// lost, nothing goes.
package retirement

import (
	"slices"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// Log is one that a server holds.
type Log struct {
	ID segment.LogID
	// Dead says that nobody has fed it for long.
	Dead bool
	// Written is when its last block was.
	Written time.Time
	// Archived says that all of it is in the bucket.
	Archived bool
}

// Bounds are what a server may hold.
type Bounds struct {
	// Time that blocks are kept, 0 for good.
	Time time.Duration
	// Over says that the files take more than they may, Overfull that they take more than
	// twice that.
	Over, Overfull bool
	// Bucket says that there is one, which keeps what goes here.
	Bucket bool
	// Places that logs have.
	Places int
	// Wanted says that a log is to come that is not here.
	Wanted bool
}

// Why a log is retired.
const (
	ByTime  = "time"  // all of it is too old
	BySize  = "size"  // the files take too much, and it is the oldest
	ByPlace = "place" // another log needs one, it is the oldest, and nothing is lost
)

// Retired is a log that goes.
type Retired struct {
	ID  segment.LogID
	Why string
	// Lost says that not all of it is in the bucket, and should be.
	Lost bool
}

// Of returns the logs to retire at a time: all that are too old and, if that is not enough,
// one more.
func Of(logs []Log, b Bounds, now time.Time) []Retired {
	var retired []Retired
	dead := slices.DeleteFunc(slices.Clone(logs), func(l Log) bool { return !l.Dead })
	slices.SortStableFunc(dead, func(a, b Log) int { return a.Written.Compare(b.Written) })
	for _, l := range dead {
		if b.Time > 0 && now.Sub(l.Written) > b.Time && (l.Archived || !b.Bucket) {
			retired = append(retired, Retired{ID: l.ID, Why: ByTime})
		}
	}
	if len(retired) > 0 {
		return retired
	}
	for _, l := range dead {
		switch {
		case b.Over && (l.Archived || !b.Bucket):
			return []Retired{{ID: l.ID, Why: BySize}}
		case b.Wanted && len(logs) >= b.Places && l.Archived:
			return []Retired{{ID: l.ID, Why: ByPlace}}
		}
	}
	if b.Overfull && len(dead) > 0 { // None of them is archived, or it would go.
		return []Retired{{ID: dead[0].ID, Why: BySize, Lost: true}}
	}
	return nil
}
