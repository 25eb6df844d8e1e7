package remotewrite

import (
	"fmt"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/segment"
)

// What a request takes in the log is counted before any of it is appended, by what each
// part takes at most: so a block always has room for a request that was accepted.

// Spend counts n bytes that are written out, and fails when all of them are more than
// the limit: references say much in a few bytes, so what counts is what they refer to.
func (r *Request) Spend(n int) error {
	if r.spent += n; r.spent > r.limits.DecodedBytes {
		return limit.Over(flagDecodedBytes, "its references, written out, take more than %d bytes", r.limits.DecodedBytes)
	}
	return nil
}

// reserve takes room in the block for everything that the request holds besides
// new series and metadata, or refuses all of it.
func (r *Request) reserve() error {
	n := segment.FrameBound + MaxErrorBytes + segment.EntryBound*(maxReasons+1)
	n += segment.SampleBound * len(r.Samples)
	n += segment.EntryBound * (len(r.Histograms) + len(r.Exemplars))
	for i := range r.Histograms {
		n += len(r.Histograms[i].Data)
	}
	for _, data := range r.Exemplars {
		n += len(data)
	}
	if r.room = r.limits.BlockBytes - n; r.room < 0 {
		return fmt.Errorf("%w: %w", ErrTooLarge, r.NoRoom())
	}
	return nil
}

// Store takes room in the block for n more bytes, if there is as much.
func (r *Request) Store(n int) error {
	if n > r.room {
		return r.NoRoom()
	}
	r.room -= n
	return nil
}

// NoRoom is the error of what a block has no room for.
func (r *Request) NoRoom() error {
	return limit.Over(flagBlockBytes, "the request takes more than %d bytes in the log", r.limits.BlockBytes)
}
