package seglog

import (
	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// sparseIndex has the offsets of some blocks of a segment, so that a search for a block
// need not start at the first frame. It has at most indexSize entries: when it is full
// it drops every other one, and from then on indexes half as many blocks.
type sparseIndex struct {
	every   uint64
	entries []indexEntry
}

type indexEntry struct {
	seq    uint64
	offset int64
}

const indexSize = 512

func (x *sparseIndex) add(seq uint64, offset int64) {
	if x.every == 0 {
		x.every = 16
	}
	if n := len(x.entries); n > 0 && seq < x.entries[n-1].seq+x.every {
		if invariant.On {
			invariant.Check(seq > x.entries[n-1].seq && offset > x.entries[n-1].offset, "index: block %d at %d after %+v", seq, offset, x.entries[n-1])
		}
		return
	}
	if len(x.entries) == indexSize {
		for i := range indexSize / 2 {
			x.entries[i] = x.entries[2*i]
		}
		x.entries = x.entries[:indexSize/2]
		x.every *= 2
	}
	x.entries = append(x.entries, indexEntry{seq, offset})
}

// before returns the offset of seq or of a block before it, or of the first frame.
func (x *sparseIndex) before(seq uint64) int64 {
	for i := len(x.entries) - 1; i >= 0; i-- {
		if x.entries[i].seq <= seq {
			return x.entries[i].offset
		}
	}
	return segment.HeaderSize
}
