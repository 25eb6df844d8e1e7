package archive

import (
	"time"

	"github.com/alecthomas/units"
)

// Config of an archive.
type Config struct {
	// Interval at which the segments that are being written are uploaded, as pieces.
	Interval time.Duration
	// RetentionTime and RetentionSize of the bucket. 0 is without bound.
	RetentionTime time.Duration
	RetentionSize units.Base2Bytes
	// Bytes of memory for what is read from the bucket.
	Bytes units.Base2Bytes
	// ReadOnly is for a relay, which neither uploads nor deletes.
	ReadOnly bool
	// Folder of the store, in which it is kept what is known of the bucket.
	Folder string
}

// FlagBytes limits the memory for what is read from the bucket.
const FlagBytes = "--limit.bucket-bytes"

const (
	// listEvery is after how many intervals the bucket is listed again: others change it,
	// too. A relay, which uploads nothing, has no other way to know.
	listEvery      = 60
	listEveryRelay = 6
	// leaseTime is how long one server applies the retention, at most.
	leaseTime = 10 * time.Minute
	// fillTime is how long a server takes from the bucket what it lacks, before it serves.
	fillTime = time.Minute
	// LeastBytes is the least memory for reading.
	LeastBytes = 16 * units.MiB
)
