package replica

import (
	"bytes"

	"github.com/cespare/xxhash/v2"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// Newest leaves each series in one of several snapshots.
type Newest struct {
	Snapshots    []*Snapshot
	seen         map[uint64]candidate // by the hash of the labels
	mine, theirs []byte
}

// candidate is a series of one of the snapshots: its ref, and in the low bits the
// snapshot's number.
type candidate uint64

// numberBits are enough for as many logs as a server has.
const numberBits = 8

func candidateOf(number int, ref uint64) candidate {
	return candidate(ref<<numberBits | uint64(number))
}

func (c candidate) ref() uint64 { return uint64(c) >> numberBits }

// of returns the snapshot of a candidate.
func (n *Newest) of(c candidate) *Snapshot { return n.Snapshots[c&(1<<numberBits-1)] }

// Bytes is about what it takes in memory.
func (n *Newest) Bytes() int64 { return seenBytes * int64(len(n.seen)) }

// checkEvery is how many series pass before it is checked that the caller is still
// there.
const checkEvery = 1024

// seenBytes is what a map takes for an entry, while it grows.
const seenBytes = 40

// KeepNewest omits a series from a snapshot if another one has a newer sample of it,
// even if that is a stale marker, or one that is as new and comes first. It gives up
// when check, which is called now and then, returns an error.
func (n *Newest) KeepNewest(check func() error) error {
	if len(n.Snapshots) < 2 {
		return nil
	}
	n.seen = make(map[uint64]candidate)
	left := 0
	for i, s := range n.Snapshots {
		for ref, l := range s.written() {
			if left--; left < 0 {
				left = checkEvery
				if err := check(); err != nil {
					return err
				}
			}
			n.compare(candidateOf(i, ref), l)
		}
	}
	*n = Newest{}
	return nil
}

// compare omits a series, or the one that was seen with the same labels.
func (n *Newest) compare(c candidate, l *segment.Latest) {
	n.mine = n.of(c).View.AppendLabels(n.mine[:0], c.ref())
	hash := xxhash.Sum64(n.mine)
	before, ok := n.seen[hash]
	if !ok {
		n.seen[hash] = c
		return
	}
	n.theirs = n.of(before).View.AppendLabels(n.theirs[:0], before.ref())
	if !bytes.Equal(n.mine, n.theirs) {
		return // Two label sets with one hash: both stay.
	}
	if theirs, _ := n.of(before).View.Latest(before.ref()); !newer(l, &theirs) {
		n.of(c).omitted.Add(c.ref())
		return
	}
	n.of(before).omitted.Add(before.ref())
	n.seen[hash] = c
}

// newer says whether a sample is shown rather than that of another log, of the same
// series: the later one, unless that was in the future when either was written.
func newer(l, other *segment.Latest) bool {
	if l.Timestamp == other.Timestamp {
		return false
	}
	later := max(l.Timestamp, other.Timestamp)
	return (l.Timestamp == later) != head.InFuture(later, max(l.Written, other.Written))
}
