// Package placement says which group of forwarders and servers a series belongs to, from
// which time on, and reads the groups file.
//
// Guaranteed: a group depends on the placement, the key and the sample's own timestamp
// alone: there is no clock, no goroutine and no network here, and all who have the same
// placement choose alike, now and whenever a request is repeated. When one of n groups is
// added, one key in n moves, to it; when one is removed, its keys alone move.
//
// Not guaranteed: that the groups have the same load. Each gets its share of the keys,
// whatever is written under them.
package placement

import (
	"sort"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// Spread says what decides.
type Spread int

// What decides.
const (
	ByLabels Spread = iota + 1
	BySender
	ByTenant
)

// Placement says which group a series belongs to. It does not change.
type Placement struct {
	version uint64
	spread  Spread
	labels  []string // sorted
	epochs  []*epoch // ascending
	groups  []string // of any epoch, sorted
	bytes   []byte
}

// Epoch is a time from which on one list of groups counts.
type Epoch struct {
	// From in ms since the Unix epoch. That of the first is [Ever].
	From int64
	// Groups, sorted.
	Groups []string
}

// Ever is when the first epoch begins.
const Ever = -1 << 63

// epoch is an [Epoch] with the group of each slot.
type epoch struct {
	Epoch

	own   []uint16 // groups of this epoch, as indexes into those of the placement
	once  sync.Once
	slots []uint16 // by slot, indexes into the groups of the placement
}

// Version of the file that says so.
func (p *Placement) Version() uint64 { return p.version }

// Spread says what decides.
func (p *Placement) Spread() Spread { return p.spread }

// Labels are those whose values decide, sorted: a key is made of them in that order.
func (p *Placement) Labels() []string { return p.labels }

// Groups of any epoch, sorted.
func (p *Placement) Groups() []string { return p.groups }

// Epochs returns all, ascending.
func (p *Placement) Epochs() []Epoch {
	all := make([]Epoch, len(p.epochs))
	for i, e := range p.epochs {
		all[i] = e.Epoch
	}
	return all
}

// Last returns the groups of the last epoch, sorted.
func (p *Placement) Last() []string { return p.epochs[p.LastEpoch()].Groups }

// Group returns the name of the group that a sample belongs to, by its key and timestamp.
func (p *Placement) Group(k Key, ms int64) string { return p.groups[p.Index(k, ms)] }

// Index returns which of Groups a sample belongs to.
func (p *Placement) Index(k Key, ms int64) int { return p.InEpoch(p.EpochAt(ms), k) }

// LastEpoch returns which epoch is the last.
func (p *Placement) LastEpoch() int { return len(p.epochs) - 1 }

// EpochAt returns which epoch a timestamp lies in.
func (p *Placement) EpochAt(ms int64) int {
	i := p.LastEpoch()
	if p.epochs[i].From <= ms {
		return i // Most samples are new.
	}
	return sort.Search(i, func(i int) bool { return p.epochs[i].From > ms }) - 1
}

// InEpoch returns which of Groups has a key in an epoch.
func (p *Placement) InEpoch(i int, k Key) int {
	e := p.epochs[i]
	if len(e.own) == 1 {
		return int(e.own[0])
	}
	e.once.Do(func() { e.slots = shares(p.groups, e.own) })
	return int(e.slots[k>>(64-slotBits)])
}

// Moves says whether a key has another group in any epoch from the first that is given on.
func (p *Placement) Moves(k Key, from int) bool {
	for i := from + 1; i < len(p.epochs); i++ {
		if p.InEpoch(i, k) != p.InEpoch(from, k) {
			return true
		}
	}
	return false
}

// slotBits are those of a key that decide. Keys are so many that groups get their shares
// to some percent, and what a key costs does not grow with the groups.
const slotBits = 16

// shares gives each slot to the group that scores highest for it (rendezvous hashing).
func shares(groups []string, own []uint16) []uint16 {
	hashes := make([]uint64, len(own))
	for i, g := range own {
		hashes[i] = xxhash.Sum64String(groups[g])
	}
	slots := make([]uint16, 1<<slotBits)
	for slot := range slots {
		mixed, best := mix(uint64(slot)), uint64(0)
		for i, hash := range hashes {
			if score := mix(hash ^ mixed); i == 0 || score > best {
				slots[slot], best = own[i], score
			}
		}
	}
	return slots
}
