package stream

import (
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/replica"
)

// A replica knows which requests are in the newest blocks that it has on its disk. A
// stream of several logs that reads older ones from the bucket keeps for itself which
// requests are in the blocks that it has passed, and reads those before its cursor.

// mostPassed is of how many blocks of a log that is known.
const mostPassed = 8192

// passed are the requests in the blocks that a stream has passed last in one log.
type passed struct {
	stored map[[16]byte]replica.Stored
	ring   [][16]byte
	next   int
}

// What an entry takes in memory.
const passedBytes = 100

func (p *passed) bytes() int64 {
	if p == nil {
		return 0
	}
	return int64(len(p.ring)) * passedBytes
}

// add adds a block. Of two blocks of one request, the first counts.
func (p *passed) add(digest [16]byte, at replica.Stored) {
	if p == nil || digest == ([16]byte{}) {
		return
	}
	if known, ok := p.stored[digest]; ok {
		if at.Sequence < known.Sequence {
			p.stored[digest] = at
		}
		return
	}
	p.stored[digest] = at
	if len(p.ring) < mostPassed {
		p.ring = append(p.ring, digest)
		return
	}
	delete(p.stored, p.ring[p.next])
	p.ring[p.next] = digest
	p.next = (p.next + 1) % mostPassed
}

func (p *passed) find(digest [16]byte) (replica.Stored, bool) {
	if p == nil {
		return replica.Stored{}, false
	}
	at, ok := p.stored[digest]
	return at, ok
}

// keepPassed has a source that begins in the bucket keep the requests of what it passes, if
// there is another log that may have them, too.
func (src *source) keepPassed() {
	if src.passed == nil && src.sequence+1 < src.replica.Log.FirstLocal() && len(src.labels.stream.streams.Replicas.Readable()) > 1 {
		src.passed = &passed{stored: map[[16]byte]replica.Stored{}}
	}
}

// loadPassed reads the requests of the blocks before the one that a source goes on with.
func (st *stream) loadPassed(src *source) error {
	if src.passed == nil || src.sequence == 0 {
		return nil
	}
	err := src.replica.Log.DigestsBefore(src.reached(), mostPassed, st.decoding.wait, func(digest [16]byte, v segment.Verdict, sequence uint64) {
		src.passed.add(digest, replica.Stored{Sequence: sequence, Rejected: v.Rejected})
	})
	st.decoding.release()
	return err
}
