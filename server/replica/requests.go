package replica

import (
	"fmt"
	"sync"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// requests knows where the newest [seglog.RepeatWindow] blocks of a log stored which
// request, so that a stream of several logs recognises a request that a sender
// repeated at another forwarder. A server with one log keeps none of this.
type requests struct {
	mu     sync.RWMutex
	stored map[digest]Stored
	// ring has the digest of each block, at its sequence modulo the window; nil while
	// nothing is kept.
	ring []digest
	// newest may not be readable in the log yet.
	newest struct {
		digest
		Stored
	}
}

type digest = [16]byte

// Stored is the block in which a request is, and how many of its entries were refused.
type Stored struct {
	Sequence uint64
	Rejected uint32
}

// add adds a block that is about to become readable.
func (q *requests) add(b *segment.Block) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.newest.digest, q.newest.Stored = b.Digest, Stored{b.Sequence, b.Verdict.Rejected}
	q.put(q.newest.digest, q.newest.Stored)
}

// load keeps from now on what is added, and reads what was added before.
func (q *requests) load(l *seglog.Log) error {
	q.mu.Lock()
	loaded := q.ring != nil
	if !loaded {
		q.stored, q.ring = map[digest]Stored{}, make([]digest, seglog.RepeatWindow)
		q.put(q.newest.digest, q.newest.Stored)
	}
	q.mu.Unlock()
	if loaded {
		return nil
	}
	err := l.EachDigest(seglog.RepeatWindow, 0, func(d [16]byte, v segment.Verdict, sequence uint64) bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.put(d, Stored{sequence, v.Rejected})
		return true
	})
	if err != nil {
		return fmt.Errorf("read the digests of log %s: %w", l.ID(), err)
	}
	return nil
}

// put puts a block into the ring, unless a newer one is there: blocks come in any
// order. Of two blocks of one request, the first counts.
func (q *requests) put(d digest, at Stored) {
	if q.ring == nil || d == (digest{}) {
		return
	}
	entry := &q.ring[at.Sequence%seglog.RepeatWindow]
	if before, ok := q.stored[*entry]; ok && before.Sequence%seglog.RepeatWindow == at.Sequence%seglog.RepeatWindow {
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

func (q *requests) find(d digest) (Stored, bool) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	at, ok := q.stored[d]
	return at, ok
}

// Request says where the log has a request, and how much of it.
func (r *Replica) Request(digest [16]byte) (Stored, bool) { return r.requests.find(digest) }
