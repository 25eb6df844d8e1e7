package replica

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// Requests knows which request is in which of some of a log's blocks, so that a stream of
// several logs recognises a request that a sender repeated at another forwarder. Nil knows
// none.
type Requests struct {
	mu     sync.RWMutex
	stored map[digest]Stored
	// ring has the digest of each block, at its sequence modulo its length.
	ring []digest
}

type digest = [16]byte

// Stored is the block in which a request is, and how many of its entries were refused.
type Stored struct {
	Sequence uint64
	Rejected uint32
}

// NewRequests returns the requests of the newest so many blocks of those that are added.
func NewRequests(blocks int) *Requests {
	return &Requests{stored: map[digest]Stored{}, ring: make([]digest, blocks)}
}

// Add adds a block, unless a newer one is in its place: blocks come in any order. Of two
// blocks of one request, the first counts.
func (q *Requests) Add(d [16]byte, at Stored) {
	if q == nil || d == (digest{}) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	n := uint64(len(q.ring))
	entry := &q.ring[at.Sequence%n]
	if before, ok := q.stored[*entry]; ok && before.Sequence%n == at.Sequence%n {
		if before.Sequence >= at.Sequence {
			return
		}
		delete(q.stored, *entry)
	}
	*entry = d
	if known, ok := q.stored[d]; !ok || at.Sequence < known.Sequence {
		q.stored[d] = at
	}
}

// Find says where a request is.
func (q *Requests) Find(d [16]byte) (Stored, bool) {
	if q == nil {
		return Stored{}, false
	}
	q.mu.RLock()
	defer q.mu.RUnlock()
	at, ok := q.stored[d]
	return at, ok
}

// storedBytes is about what an entry of [Requests.stored] takes in memory.
const storedBytes = 80

// Bytes is about what they take in memory.
func (q *Requests) Bytes() int64 {
	if q == nil {
		return 0
	}
	q.mu.RLock()
	defer q.mu.RUnlock()
	return int64(len(q.ring))*int64(len(digest{})) + int64(len(q.stored))*storedBytes
}

// requests are those of the newest [seglog.RepeatWindow] blocks of a log. A server with one
// log keeps none of them.
type requests struct {
	mu   sync.Mutex
	kept atomic.Pointer[Requests]
	// newest may not be readable in the log yet.
	newest struct {
		digest
		Stored
	}
	// oldest is from which block on all are known, 0 before those on the disk are.
	oldest atomic.Uint64
}

// add adds a block that is about to become readable.
func (q *requests) add(b *segment.Block) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.newest.digest, q.newest.Stored = b.Digest, Stored{b.Sequence, b.Verdict.Rejected}
	q.kept.Load().Add(q.newest.digest, q.newest.Stored)
}

// load keeps from now on what is added, and reads what was added before.
func (q *requests) load(l *seglog.Log) error {
	q.mu.Lock()
	loaded := q.kept.Load() != nil
	if !loaded {
		kept := NewRequests(seglog.RepeatWindow)
		kept.Add(q.newest.digest, q.newest.Stored)
		q.kept.Store(kept)
	}
	q.mu.Unlock()
	if loaded {
		return nil
	}
	err := l.EachDigest(seglog.RepeatWindow, 0, func(d [16]byte, v segment.Verdict, sequence uint64) bool {
		q.kept.Load().Add(d, Stored{sequence, v.Rejected})
		return true
	})
	if err != nil {
		return fmt.Errorf("read the digests of log %s: %w", l.ID(), err)
	}
	q.oldest.Store(withoutHole(l))
	return nil
}

// leaveHole notes that what is added next begins at a block that does not follow.
func (q *requests) leaveHole(first uint64) {
	if q.oldest.Load() > 0 {
		q.oldest.Store(first)
	}
}

// Request says where the log has a request, and how much of it.
func (r *Replica) Request(digest [16]byte) (Stored, bool) { return r.requests.kept.Load().Find(digest) }
