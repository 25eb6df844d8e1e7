package plan

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/promgrpc/exporter/internal/segment"
)

// Kept is a segment in the bucket: a sealed one, or the pieces of one.
type Kept struct {
	Log     segment.LogID
	Segment string
	First   uint64
	Size    int64
	// Written is when its last frame was written, by the clock of its forwarder, and
	// Modified when its last object came, by the bucket's.
	Written, Modified time.Time
}

// last is when the last block of a segment was written, as far as that can be.
func (k *Kept) last() time.Time {
	if k.Written.After(k.Modified) {
		return k.Modified
	}
	return k.Written
}

// Expired returns what is beyond the retention of the bucket, the oldest first, by a time
// of the bucket's clock: what is older than age, and then as much as size demands. 0 is
// without bound. The newest segment of a log stays, and so does what follows one that
// stays.
func Expired(kept []Kept, now time.Time, age time.Duration, size int64) []Kept {
	sorted := slices.SortedFunc(slices.Values(kept), func(a, b Kept) int {
		return cmp.Or(bytes.Compare(a.Log[:], b.Log[:]), cmp.Compare(a.First, b.First))
	})
	var may []dated
	var total int64
	for i, k := range sorted {
		total += k.Size
		d := dated{k, k.last()}
		if i > 0 && sorted[i-1].Log == k.Log && len(may) > 0 {
			d.until = later(d.until, may[len(may)-1].until) // The writer's clock may have been set back.
		}
		if i+1 < len(sorted) && sorted[i+1].Log == k.Log {
			may = append(may, d)
		}
	}
	slices.SortStableFunc(may, func(a, b dated) int { return a.until.Compare(b.until) })
	var expired []Kept
	for _, d := range may {
		tooOld := age > 0 && now.Sub(d.until) > age
		if !tooOld && (size == 0 || total <= size) {
			break
		}
		expired = append(expired, d.Kept)
		total -= d.Size
	}
	return expired
}

// dated is a segment with when it and all before it in its log were written.
type dated struct {
	Kept
	until time.Time
}

// Floors are the first sequences that stay of each log when what has expired goes.
func Floors(kept, expired []Kept) map[segment.LogID]uint64 {
	floors := map[segment.LogID]uint64{}
	gone := map[string]bool{}
	for i := range expired {
		gone[expired[i].Log.String()+"/"+expired[i].Segment] = true
		floors[expired[i].Log] = 0
	}
	for i := range kept {
		k := &kept[i]
		at, some := floors[k.Log]
		if some && !gone[k.Log.String()+"/"+k.Segment] && (at == 0 || k.First < at) {
			floors[k.Log] = k.First
		}
	}
	return floors
}

// FormatFloors writes floors as a lease keeps them.
func FormatFloors(floors map[segment.LogID]uint64) []byte {
	var lines []string
	for id, first := range floors {
		lines = append(lines, id.String()+" "+formatSequence(first)+"\n")
	}
	slices.Sort(lines)
	return []byte(strings.Join(lines, ""))
}

// ParseFloors reads what FormatFloors wrote; lines that are not of that kind are left
// out.
func ParseFloors(text string) map[segment.LogID]uint64 {
	floors := map[segment.LogID]uint64{}
	for line := range strings.Lines(text) {
		id, first, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		log, err := segment.ParseLogID(id)
		sequence, ok := parseSequence(first)
		if err == nil && ok {
			floors[log] = sequence
		}
	}
	return floors
}
