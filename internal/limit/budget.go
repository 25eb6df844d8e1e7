package limit

import (
	"context"
	"slices"
	"sync"

	"github.com/promgrpc/exporter/internal/invariant"
)

// Budget is an amount of something, most often bytes, that peers share. It may be used
// concurrently.
//
// Waiters are in one queue, sorted by round. Each waiter of a peer is in a later round
// than the one before, so a peer with many waiters does not keep others back:
//
//	peers    a  b │ a  b │ a │ a
//	round     1   │  2   │ 3 │ 4
type Budget struct {
	flag  string
	name  string // by which refusals are counted
	unit  string
	total int64
	share int64

	mu      sync.Mutex
	used    int64
	peers   map[string]int64 // what each holds, unless that is nothing
	waiting []*waiter        // by round, and within one in order of arrival
	round   uint64           // the highest that was served
}

// waiter is a hold that waits for n more.
type waiter struct {
	hold    *Hold
	n       int64
	round   uint64
	granted chan struct{}
}

// NewBudget returns a budget of total units, which a flag sets. unit is a word that
// follows a number. One peer may hold share of them; 0 is all.
func NewBudget(flag, unit string, total, share int64) *Budget {
	if share <= 0 || share > total {
		share = total
	}
	return &Budget{flag: flag, name: Name(flag), unit: unit, total: total, share: share, peers: map[string]int64{}}
}

// NewNamedBudget returns a budget of what is set elsewhere than by a flag: where, in
// words, and the name to count refusals by. One peer may hold all of it.
func NewNamedBudget(name, where, unit string, total int64) *Budget {
	b := NewBudget(where, unit, total, 0)
	b.name = name
	return b
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

// Hold returns a hold of a peer, on nothing yet. The caller releases it.
func (b *Budget) Hold(peer string) *Hold { return &Hold{budget: b, peer: peer} }

// resize changes what a hold of a peer has by n. A negative n is never refused.
func (b *Budget) resize(peer string, before, n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch held := b.peers[peer]; {
	case n <= 0:
	case before+n > b.share:
		return b.over("it needs %d %s, %d are allowed", before+n, b.unit, b.share)
	case b.used+n > b.total:
		return b.busy("all calls together hold %d %s of %d, and %d more were asked for", b.used, b.unit, b.total, n)
	case held+n > b.share:
		return b.busy("the calls of %s hold %d %s of %d that one peer may, and %d more were asked for", peer, held, b.unit, b.share, n)
	}
	b.add(peer, n)
	if n < 0 {
		b.grant()
	}
	return nil
}

func (b *Budget) over(format string, args ...any) error {
	return &Error{Name: b.name, flag: b.flag, format: format, args: args}
}

func (b *Budget) busy(format string, args ...any) error {
	return &Error{Name: b.name, Passing: true, flag: b.flag, format: format, args: args}
}

// add changes what a peer holds by n. The caller holds mu.
func (b *Budget) add(peer string, n int64) {
	b.used += n
	if b.peers[peer] += n; b.peers[peer] == 0 {
		delete(b.peers, peer)
	}
	if invariant.On {
		b.check(peer)
	}
}

// check checks what is held, in sum and by a peer.
func (b *Budget) check(peer string) {
	sum := int64(0)
	for _, held := range b.peers {
		sum += held
	}
	held := b.peers[peer]
	invariant.Check(sum == b.used && b.used <= b.total, "%s: peers hold %d, %d are counted, the total is %d", b.flag, sum, b.used, b.total)
	invariant.Check(held >= 0 && held <= b.share, "%s: peer %s holds %d, the share is %d", b.flag, peer, held, b.share)
}

// grant serves the queue as far as there is enough. A waiter whose peer has its share is
// skipped. One that the total is too small for blocks all after it: otherwise one that
// asks for much would never get it. The caller holds mu.
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
		b.add(w.hold.peer, w.n)
		b.round = max(b.round, w.round)
		close(w.granted)
		return true
	})
}

// join adds n to a hold at once, and returns nil, or queues it.
func (b *Budget) join(h *Hold, n int64) (*waiter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case h.held+n > b.share:
		return nil, b.over("it needs %d %s, %d are allowed", h.held+n, b.unit, b.share)
	case len(b.waiting) == 0 && b.used+n <= b.total && b.peers[h.peer]+n <= b.share:
		b.add(h.peer, n)
		return nil, nil
	}
	w := &waiter{hold: h, n: n, round: b.round + 1, granted: make(chan struct{})}
	b.queue(w)
	b.grant()
	return w, nil
}

// queue inserts a waiter after its round, which is after those of its peer. The caller
// holds mu.
func (b *Budget) queue(w *waiter) {
	at := 0
	for i, other := range b.waiting {
		if other.hold.peer == w.hold.peer {
			w.round = other.round + 1
		}
		if other.round <= w.round {
			at = i + 1
		}
	}
	b.waiting = slices.Insert(b.waiting, at, w)
}

// leave removes a waiter from the queue. It returns false if the waiter was served
// before.
func (b *Budget) leave(w *waiter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting, w)
	if i < 0 {
		return false
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	b.grant() // It may have blocked others.
	return true
}

// Hold is what one call holds of a budget. It is for one goroutine.
type Hold struct {
	budget *Budget
	peer   string
	held   int64
	also   *Hold // of another budget, with as much; nil: none
}

// With makes a hold on nothing one of another budget as well, unless that is nil. Such
// a hold does not wait.
func (h *Hold) With(other *Budget) *Hold {
	if other != nil {
		h.also = other.Hold(h.peer)
	}
	return h
}

// Held returns how much it is.
func (h *Hold) Held() int64 { return h.held }

// Resize makes it n. If that is over a limit it stays as it was, and the error is an
// *[Error].
func (h *Hold) Resize(n int64) error {
	if n == h.held {
		return nil
	}
	if err := h.budget.resize(h.peer, h.held, n-h.held); err != nil {
		return err
	}
	if h.also != nil {
		if err := h.also.Resize(n); err != nil {
			_ = h.budget.resize(h.peer, n, h.held-n) // gives back
			return err
		}
	}
	h.held = n
	return nil
}

// Grow makes it n more, as Resize does.
func (h *Hold) Grow(n int64) error { return h.Resize(h.held + n) }

// Wait makes it n more, and waits until there is as much. The error is that of ctx, or an
// *[Error] if there never will be. Calls that wait while they hold something may wait for
// each other, so a hold waits once.
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

// Release makes it 0. It may be called twice.
func (h *Hold) Release() { _ = h.Resize(0) }
