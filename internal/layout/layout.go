// Package layout says what the objects of a bucket are called: sealed segments by their
// log and file, and those that are not sealed in pieces that continue each other.
package layout

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

const (
	partSuffix   = ".part"
	offsetDigits = 20
	// leasePrefix is that of the leases of retention, which a number follows.
	leasePrefix = "leases/retention-"
)

// Object is what an object's name says that it is: a sealed segment, or the piece of one
// from an offset on.
type Object struct {
	Log     segment.LogID
	Segment string
	Piece   bool
	Offset  int64
}

// Name in the bucket, below the prefix.
func (o Object) Name() string {
	if o.Piece {
		return fmt.Sprintf("%s/%s%s/%0*d", o.Log, o.Segment, partSuffix, offsetDigits, o.Offset)
	}
	return o.Log.String() + "/" + o.Segment
}

// ParseName reads a name that Name wrote. False: it is somebody else's.
func ParseName(name string) (o Object, ok bool) {
	id, rest, ok := strings.Cut(name, "/")
	if !ok {
		return o, false
	}
	var err error
	if o.Log, err = segment.ParseLogID(id); err != nil {
		return o, false
	}
	file, offset, piece := strings.Cut(rest, partSuffix+"/")
	if _, ok := seglog.FirstSequence(file); !ok {
		return o, false
	}
	o.Segment, o.Piece = file, piece
	if !piece {
		return o, true
	}
	if len(offset) != offsetDigits || strings.Trim(offset, "0123456789") != "" {
		return o, false
	}
	o.Offset, err = strconv.ParseInt(offset, 10, 64)
	return o, err == nil
}

// LeaseName is that of a lease of retention.
func LeaseName(n uint64) string { return leasePrefix + strconv.FormatUint(n, 10) }

// ParseLease returns the number in the name of a lease.
func ParseLease(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, leasePrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && LeaseName(n) == name
}

// Piece of a segment that has no sealed object: whole frames, the first after the file's
// header.
type Piece struct{ Offset, Size int64 }

// Chain returns the pieces that continue each other from the beginning. They come in the
// order of their offsets.
func Chain(pieces []Piece) []Piece {
	var end int64
	for i, p := range pieces {
		if p.Offset != end || p.Size <= 0 {
			return pieces[:i:i]
		}
		end += p.Size
	}
	return pieces
}
