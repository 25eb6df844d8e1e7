package limit

import (
	"context"
	"slices"
	"sync"
)

// Budget is an amount of something, most often bytes, that all share. It may be
// used concurrently.
type Budget struct {
	flag  string
	unit  string
	total int64
	share int64

	mu      sync.Mutex
	used    int64
	peers   map[string]int64 // what each holds, if it is anything
	waiting []*waiter        // by round, and in the order in which they came
	round   uint64           // of the one that was served last
}

// waiter is a hold that waits for n more. Each that a peer has waiting belongs to
// a round of its own, so that the peers take turns.
type waiter struct {
	hold    *Hold
	n       int64
	round   uint64
	granted chan struct{}
}

// NewBudget returns a budget of total units, in a word that follows a number,
// which a flag sets. One peer may hold share of them; 0 is all.
func NewBudget(flag, unit string, total, share int64) *Budget {
	if share <= 0 || share > total {
		share = total
	}
	return &Budget{flag: flag, unit: unit, total: total, share: share, peers: map[string]int64{}}
}

// Used returns how much is held.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Waiting returns how many holds wait.
func (b *Budget) Waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

// Share returns how much one peer may hold.
func (b *Budget) Share() int64 { return b.share }

// Hold returns a hold of a peer on nothing yet. It is to be released.
func (b *Budget) Hold(peer string) *Hold { return &Hold{budget: b, peer: peer} }

// take changes what a peer holds by n. What is given back is never refused.
func (b *Budget) take(peer string, before, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch held := b.peers[peer]; {
	case n <= 0:
	case before+n > b.share:
		return Over(b.flag, "it needs %d %s, %d are allowed", before+n, b.unit, b.share)
	case b.used+n > b.total:
		return Busy(b.flag, "all calls together hold %d %s of %d, and %d more were asked for", b.used, b.unit, b.total, n)
	case held+n > b.share:
		return Busy(b.flag, "the calls of %s hold %d %s of %d that one peer may, and %d more were asked for", peer, held, b.unit, b.share, n)
	}
	b.give(peer, n)
	if n < 0 {
		b.grant()
	}
	return nil
}

// give changes what a peer holds by n. The caller holds mu.
func (b *Budget) give(peer string, n int64) {
	b.used += n
	if b.peers[peer] += n; b.peers[peer] == 0 {
		delete(b.peers, peer)
	}
}

// grant gives those who wait what there is by now. Who waits for others of its
// own peer is passed over; who waits for the total keeps back those behind it,
// since whoever asks for much would never get it otherwise. The caller holds mu.
func (b *Budget) grant() {
	full := false
	b.waiting = slices.DeleteFunc(b.waiting, func(w *waiter) bool {
		if full || b.peers[w.hold.peer]+w.n > b.share {
			return false
		}
		if b.used+w.n > b.total {
			full = true
			return false
		}
		b.give(w.hold.peer, w.n)
		b.round = max(b.round, w.round)
		close(w.granted)
		return true
	})
}

// join lines up a hold for n more. It returns nil if the hold has it at once.
func (b *Budget) join(h *Hold, n int64) (*waiter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case h.held+n > b.share:
		return nil, Over(b.flag, "it needs %d %s, %d are allowed", h.held+n, b.unit, b.share)
	case len(b.waiting) == 0 && b.used+n <= b.total && b.peers[h.peer]+n <= b.share:
		b.give(h.peer, n)
		return nil, nil
	}
	w := &waiter{hold: h, n: n, round: b.round + 1, granted: make(chan struct{})}
	b.queue(w)
	b.grant()
	return w, nil
}

// queue puts a waiter in its place, behind those of its peer. The caller holds mu.
func (b *Budget) queue(w *waiter) {
	place := 0
	for i, other := range b.waiting {
		if other.hold.peer == w.hold.peer {
			w.round = other.round + 1
		}
		if other.round <= w.round {
			place = i + 1
		}
	}
	b.waiting = slices.Insert(b.waiting, place, w)
}

// leave takes a waiter out of the line. It returns false if there was no need to:
// it had been granted.
func (b *Budget) leave(w *waiter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting, w)
	if i < 0 {
		return false
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	b.grant() // It may have kept others back.
	return true
}

// Hold is what one call holds of a budget. It belongs to one goroutine.
type Hold struct {
	budget *Budget
	peer   string
	held   int64
}

// Held returns how much it is.
func (h *Hold) Held() int64 { return h.held }

// Resize makes it n. If there is not as much, it stays as it was, and the error is
// an *[Error].
func (h *Hold) Resize(n int64) error {
	if n == h.held {
		return nil
	}
	if err := h.budget.take(h.peer, h.held, n-h.held); err != nil {
		return err
	}
	h.held = n
	return nil
}

// Grow makes it n more, as Resize does.
func (h *Hold) Grow(n int64) error { return h.Resize(h.held + n) }

// Wait makes it n more, and waits until there is as much. The error is that of
// ctx, or an *[Error] for what there will never be. Who waits while he holds
// something may wait for one who waits for him: one hold takes from one budget
// once.
func (h *Hold) Wait(ctx context.Context, n int64) error {
	w, err := h.budget.join(h, n)
	if err != nil {
		return err
	}
	if w != nil {
		select {
		case <-w.granted:
		case <-ctx.Done():
			if h.budget.leave(w) {
				return ctx.Err()
			}
		}
	}
	h.held += n
	return nil
}

// Release gives all of it back. It may be called twice.
func (h *Hold) Release() { _ = h.Resize(0) }
