package replica

import (
	"fmt"
	"sync"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
)

// requests knows which of the newest [seglog.RepeatWindow] blocks of a log stored which
// request, so that a stream of several logs can tell a request that a sender repeated
// at another forwarder.
// While a server has one log it keeps nothing.
type requests struct {
	mu     sync.RWMutex
	blocks map[digest]stored
	// window has the digest of each block at its sequence modulo seglog.RepeatWindow;
	// nil while nothing is kept.
	window []digest
	// newest may not be readable in the log yet.
	newest struct {
		digest
		stored
	}
}

type digest = [16]byte

// stored says where a request is, and how many of its entries were refused.
type stored struct {
	Sequence uint64
	Rejected uint32
}

// note takes in a block that is about to become readable.
func (q *requests) note(b *segment.Block) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.newest.digest, q.newest.stored = b.Digest, stored{b.Sequence, b.Verdict.Rejected}
	q.put(q.newest.digest, q.newest.stored)
}

// keep begins to keep what is noted, and reads what was before.
func (q *requests) keep(l *seglog.Log) error {
	q.mu.Lock()
	kept := q.window != nil
	if !kept {
		q.blocks, q.window = map[digest]stored{}, make([]digest, seglog.RepeatWindow)
		q.put(q.newest.digest, q.newest.stored)
	}
	q.mu.Unlock()
	if kept {
		return nil
	}
	err := l.EachDigest(seglog.RepeatWindow, 0, func(d [16]byte, v segment.Verdict, sequence uint64) bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.put(d, stored{sequence, v.Rejected})
		return true
	})
	if err != nil {
		return fmt.Errorf("read the digests of log %s: %w", l.ID(), err)
	}
	return nil
}

// put takes in a block, in any order, unless a newer one has its place. Of two
// blocks of one request the first counts.
func (q *requests) put(d digest, at stored) {
	if q.window == nil || d == (digest{}) {
		return
	}
	place := &q.window[at.Sequence%seglog.RepeatWindow]
	if before, ok := q.blocks[*place]; ok && before.Sequence%seglog.RepeatWindow == at.Sequence%seglog.RepeatWindow {
		if before.Sequence >= at.Sequence {
			return
		}
		delete(q.blocks, *place)
	}
	*place = d
	if known, ok := q.blocks[d]; !ok || at.Sequence < known.Sequence {
		q.blocks[d] = at
	}
}

func (q *requests) find(d digest) (stored, bool) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	at, ok := q.blocks[d]
	return at, ok
}

// Request says where the log has a request, and how much of it.
func (r *Replica) Request(digest [16]byte) (stored, bool) { return r.requests.find(digest) }
