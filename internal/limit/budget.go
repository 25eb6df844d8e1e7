package limit

import "sync"

// Budget is an amount of something, most often bytes, that all share. It may be
// used concurrently.
type Budget struct {
	flag  string
	unit  string
	total int64
	share int64

	mu    sync.Mutex
	used  int64
	peers map[string]int64 // what each holds, if it is anything
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
	b.used += n
	if b.peers[peer] += n; b.peers[peer] == 0 {
		delete(b.peers, peer)
	}
	return nil
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
	if err := h.budget.take(h.peer, h.held, n-h.held); err != nil {
		return err
	}
	h.held = n
	return nil
}

// Grow makes it n more, as Resize does.
func (h *Hold) Grow(n int64) error { return h.Resize(h.held + n) }

// Release gives all of it back. It may be called twice.
func (h *Hold) Release() { _ = h.Resize(0) }
