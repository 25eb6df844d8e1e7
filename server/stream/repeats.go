package stream

import "github.com/promgrpc/exporter/internal/segment"

// repeats says whether the stream has delivered the request of a block already,
// as a block of another log. It goes by the positions of the stream alone, and
// so another replica that takes the stream up says the same, in whatever order
// the logs came there.
//
// A block of which a part was delivered is never one: its end is still due. A
// request of which the other forwarder refused more is not one either.
func (st *stream) repeats(src *source, b *segment.Block) bool {
	if src.entries > 0 || b.Digest == ([16]byte{}) {
		return false
	}
	for _, other := range st.sources {
		if other == src {
			continue
		}
		at, ok := other.replica.Request(b.Digest)
		if ok && at.Sequence <= other.reached() && at.Rejected <= b.Verdict.Rejected {
			return true
		}
	}
	return false
}
