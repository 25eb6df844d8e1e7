package seglog

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// SyncPolicy says when appended blocks are forced to the disk.
type SyncPolicy int

const (
	// SyncAlways confirms a block, and makes it visible, once it is on the disk.
	SyncAlways SyncPolicy = iota
	// SyncInterval makes a block visible, and confirms it, once it is written. A power
	// cut loses at most those of the last interval.
	SyncInterval
	// SyncNever is SyncInterval with the interval left to the kernel. Complete segments
	// are forced to the disk all the same.
	SyncNever
)

var syncPolicies = []string{"always", "interval", "never"}

// parseSyncPolicy reads "always", "interval" or "never".
func parseSyncPolicy(s string) (SyncPolicy, error) {
	for i, name := range syncPolicies {
		if s == name {
			return SyncPolicy(i), nil
		}
	}
	return 0, fmt.Errorf("sync policy %q: want always, interval or never", s)
}

func (p SyncPolicy) String() string {
	if p < 0 || int(p) >= len(syncPolicies) {
		return fmt.Sprintf("SyncPolicy(%d)", int(p))
	}
	return syncPolicies[p]
}

// Options of a store and the logs in it. The zero value of a field means its
// default, but for the retentions, where it means without bound.
type Options struct {
	Sync         SyncPolicy
	SyncInterval time.Duration
	// ShowFirst makes a writer's blocks visible before it forces them to the disk, under
	// [SyncAlways] too: for who has others force what they read. A power cut may take
	// what readers have seen.
	ShowFirst bool
	// SegmentDuration and SegmentSize end a segment, whichever comes first. By size a
	// segment does not end before its blocks are as large as its keyframe.
	SegmentDuration time.Duration
	SegmentSize     int64
	// RetentionTime keeps segments whose last block is younger.
	RetentionTime time.Duration
	// RetentionSize bounds all segments of the store together, but for the
	// newest of each log, which always stays.
	RetentionSize int64
	// RingBytes bounds, by estimate, the decoded blocks that a mirror keeps in memory
	// for readers at the tail.
	RingBytes int
	// Remote has segments that are not on this disk. Retention deletes only what it has,
	// unless there is more than twice RetentionSize. Nil: none.
	Remote Remote
	Logger *slog.Logger
	Now    func() time.Time
	// Registerer gets the metrics promgrpc_log_*; may be nil.
	Registerer prometheus.Registerer
}

// showsUnforced says that a writer's blocks may be visible that are not on the disk.
func (o *Options) showsUnforced() bool { return o.Sync != SyncAlways || o.ShowFirst }

// DefaultOptions are segments of an hour or 128 MiB, so that a restart, which reads one
// segment, takes seconds; and two days of retention, without a bound on size.
func DefaultOptions() Options {
	return Options{
		Sync:            SyncAlways,
		SyncInterval:    time.Second,
		SegmentDuration: time.Hour,
		SegmentSize:     128 << 20,
		RetentionTime:   48 * time.Hour,
		RingBytes:       64 << 20,
	}
}
