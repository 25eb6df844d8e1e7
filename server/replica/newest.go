package replica

import (
	"bytes"

	"github.com/cespare/xxhash/v2"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// Newest finds the series that several snapshots have.
type Newest struct {
	Snapshots    []*Snapshot
	seen         map[uint64]place // by the hash of the labels
	mine, theirs []byte
}

// numberBits are those of a place that are the number of the snapshot. There are as
// many as logs in a cursor, at most.
const numberBits = 8

// place is where a series is: its reference, and behind it the number of the
// snapshot, as numberBits has it.
type place uint64

func placeOf(number int, ref uint64) place { return place(ref<<numberBits | uint64(number)) }

func (p place) ref() uint64 { return uint64(p) >> numberBits }

func (n *Newest) of(p place) *Snapshot { return n.Snapshots[p&(1<<numberBits-1)] }

// Bytes is about what it takes in memory.
func (n *Newest) Bytes() int64 { return seenBytes * int64(len(n.seen)) }

// seenBytes is what a map takes for an entry, while it grows.
const seenBytes = 40

// checkedSeries is how many series may pass from one check to the next.
const checkedSeries = 1024

// KeepNewest leaves out of each snapshot the series that another log has a newer
// sample of, which may say that the series has ended, or as new a one and comes first.
// It stops when check, which is called now and then, returns an error.
func (n *Newest) KeepNewest(check func() error) error {
	if len(n.Snapshots) < 2 {
		return nil
	}
	n.seen = make(map[uint64]place)
	left := 0
	for i, s := range n.Snapshots {
		for ref, l := range s.written() {
			if left--; left < 0 {
				left = checkedSeries
				if err := check(); err != nil {
					return err
				}
			}
			n.look(placeOf(i, ref), l)
		}
	}
	*n = Newest{}
	return nil
}

// look compares a series with the one before that has the same labels.
func (n *Newest) look(p place, l *segment.Latest) {
	n.mine = n.of(p).View.AppendLabels(n.mine[:0], p.ref())
	hash := xxhash.Sum64(n.mine)
	before, ok := n.seen[hash]
	if !ok {
		n.seen[hash] = p
		return
	}
	n.theirs = n.of(before).View.AppendLabels(n.theirs[:0], before.ref())
	if !bytes.Equal(n.mine, n.theirs) {
		return // Two label sets with one hash: both stay.
	}
	if theirs, _ := n.of(before).View.Latest(before.ref()); !newer(l, &theirs) {
		n.of(p).omitted.Add(p.ref())
		return
	}
	n.of(before).omitted.Add(before.ref())
	n.seen[hash] = p
}

// newer says whether a sample is to be shown instead of another log's, of the same
// series: the later one, but for one that is ahead of both forwarders' clocks.
func newer(l, other *segment.Latest) bool {
	if l.Timestamp == other.Timestamp {
		return false
	}
	later := max(l.Timestamp, other.Timestamp)
	return (l.Timestamp == later) != head.Ahead(later, max(l.Written, other.Written))
}
