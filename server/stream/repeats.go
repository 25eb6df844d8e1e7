package stream

import (
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
)

// repeats says whether the stream has delivered the request of a block already, as a
// block of another log. That depends on the positions of the stream alone: so another
// replica that resumes the stream says the same, in whatever order the logs came to
// it.
//
// A block of which a part was delivered is no repeat: the rest of it is still due. Nor
// is a request of which the other forwarder refused more.
func (st *stream) repeats(src *source, b *segment.Block) bool {
	if src.entries > 0 || b.Digest == ([16]byte{}) {
		return false
	}
	for _, other := range st.sources {
		if other == src {
			continue
		}
		if at, ok := other.replica.Request(b.Digest); ok && other.delivered(at, b) {
			return true
		}
		if at, ok := other.passed.Find(b.Digest); ok && other.delivered(at, b) {
			return true
		}
	}
	return false
}

// delivered says whether the stream has delivered the request of another log's block, and
// no less of it.
func (src *source) delivered(at replica.Stored, b *segment.Block) bool {
	return at.Sequence <= src.reached() && at.Rejected <= b.Verdict.Rejected
}
