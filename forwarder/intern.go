package forwarder

import (
	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/invariant"
)

// maxSpellings bounds how many spellings of one series' labels are remembered besides
// the canonical one: a sender could make up any number. The others are parsed every
// time.
const maxSpellings = 8

// entry is what the appender knows of a series. What only has to be told from another is 32
// bits of a hash: one change in four billion is missed.
type entry struct {
	// hash is the half A of the key of the labels, as they were spelt last.
	hash uint64
	ref  uint64

	// The latest sample, as said has it.
	timestamp int64
	value     uint64
	start     startHash
	// meta is of the hash of what the series said last about its family.
	meta uint32
	// next is the slot of the series that came after this one last time, 0 for none.
	next      uint32
	form      form
	spellings uint8
}

// intern finds series by the key of their labels.
//
// Senders repeat the same series in the same order, so each entry remembers which one
// followed it last time. As long as that guess holds, the table is not asked: its cache
// misses would cost more than everything else here.
//
//	next, as the last request left it:   A ──▶ B ──▶ C ──▶ D
//
//	request   guess   found by                     next becomes
//	A         A       one comparison, of its hash
//	B         B       one comparison
//	X         C       the table                    B ──▶ X
//	C         none    the table                    X ──▶ C
//	D         D       one comparison
//
// Slot 0 is no series: it starts each request, and its next is that of no series, too.
type intern struct {
	chunks []*[chunkEntries]entry // so that they need not move as their number grows
	length uint32                 // of the chunks, in entries
	slots  keyTable
	free   []uint32
	prev   uint32 // slot of the previous series of the request, 0 before the first
	ahead  readahead
}

const chunkEntries = 2048

func newIntern() *intern {
	in := new(intern)
	in.slot()
	return in
}

// entry returns the entry of a slot.
func (in *intern) entry(slot uint32) *entry {
	return &in.chunks[slot/chunkEntries][slot%chunkEntries]
}

// reset says that the next series is the first of its request.
func (in *intern) reset() { in.prev = 0 }

// guess returns the series that followed the previous one last time, if it has this
// half of the key. The other half is not needed: only one series is asked about, so a
// false match takes two equal hashes of 64 bits, however many series there are.
func (in *intern) guess(hash uint64) (*entry, bool) {
	guess := in.entry(in.prev).next
	if guess == 0 {
		return nil, false
	}
	e := in.entry(guess)
	if e.hash != hash {
		return nil, false
	}
	if invariant.On && e.ref == 0 {
		invariant.Check(false, "slot %d is a guess, and of no series", guess)
	}
	if !in.ahead.has(guess) {
		in.ahead.load(guess, in)
	}
	in.prev = guess
	return e, true
}

// find returns the series of a key.
func (in *intern) find(k remotewrite.Key) (*entry, bool) {
	slot := in.slots.get(k)
	if slot == 0 {
		return nil, false
	}
	return in.follow(slot, k), true
}

// follow notes that a series comes after the previous one, and how it is spelt.
func (in *intern) follow(slot uint32, k remotewrite.Key) *entry {
	if in.prev != 0 {
		in.entry(in.prev).next = slot
	}
	in.prev = slot
	e := in.entry(slot)
	e.hash = k.A
	return e
}

// add adds a series by the key of its labels. Which one it follows, follow notes.
func (in *intern) add(k remotewrite.Key, e entry) uint32 {
	slot := in.slot()
	*in.entry(slot) = e
	in.slots.put(k, slot)
	return slot
}

// spell adds another spelling of the labels of a series.
func (in *intern) spell(k remotewrite.Key, slot uint32) {
	e := in.entry(slot)
	if e.spellings < maxSpellings {
		e.spellings++
		in.slots.put(k, slot)
	}
}

func (in *intern) slot() uint32 {
	if n := len(in.free); n > 0 {
		slot := in.free[n-1]
		in.free = in.free[:n-1]
		return slot
	}
	if in.length%chunkEntries == 0 {
		in.chunks = append(in.chunks, new([chunkEntries]entry))
	}
	in.length++
	return in.length - 1
}

// drop forgets the series of these references. It is called between requests.
func (in *intern) drop(refs map[uint64]struct{}) {
	if len(refs) == 0 {
		return
	}
	for slot := uint32(1); slot < in.length; slot++ {
		e := in.entry(slot)
		if _, ok := refs[e.ref]; !ok || e.ref == 0 {
			continue
		}
		*e = entry{}
		in.free = append(in.free, slot)
	}
	if len(in.free) > int(in.length)/2 {
		in.compact()
		return
	}
	in.slots.move(func(slot uint32) uint32 {
		if in.entry(slot).ref == 0 {
			return 0
		}
		return slot
	})
}

// compact moves the entries together, and gives up the memory of those that are gone.
func (in *intern) compact() {
	old, length := in.chunks, in.length
	in.chunks, in.length, in.free, in.prev = nil, 0, nil, 0
	in.slot()
	moved := make([]uint32, length) // by the slot before
	for slot := range length {
		if e := &old[slot/chunkEntries][slot%chunkEntries]; e.ref != 0 {
			moved[slot] = in.slot()
			*in.entry(moved[slot]) = *e
		}
	}
	for slot := range in.length {
		e := in.entry(slot)
		e.next = moved[e.next]
	}
	in.slots.move(func(slot uint32) uint32 { return moved[slot] })
}

// said is what a sample says.
type said struct {
	timestamp, start int64
	value            uint64 // bits, or the hash of a histogram's identity
	form             form
}

// form of a sample: none, a float, or a histogram, to which its ResetHint is added.
type form uint8

const (
	formNone form = iota // there is no sample
	formFloat
	formHistogram
)

// saidBy is what a histogram says.
func saidBy(timestamp int64, id remotewrite.Identity) said {
	return said{timestamp: timestamp, start: id.Start, value: id.Hash, form: formHistogram + form(id.Hint)}
}

// startHash tells start timestamps apart. That of 0, which is none, is 0.
type startHash uint32

func hashOfStart(start int64) startHash {
	const odd = 0x9E3779B97F4A7C15 // 2⁶⁴ over the golden ratio, by which neighbours are far apart
	return startHash(uint64(start) * odd >> 32)
}

// repeats says whether a sample is the latest one once more and adds nothing to it. If
// it supersedes the latest, as in the head, it becomes the latest.
func (e *entry) repeats(s said, clock int64) bool {
	if e.form != formNone && s.timestamp <= e.timestamp {
		return e.comesAgain(s, clock)
	}
	e.setLatest(s)
	return false
}

// comesAgain is repeats for a sample that is not later than the latest.
func (e *entry) comesAgain(s said, clock int64) bool {
	same := s.timestamp == e.timestamp && s.value == e.value && (s.form == formFloat) == (e.form == formFloat)
	switch {
	case same && (s.start == 0 || hashOfStart(s.start) == e.start) && (s.form <= formHistogram || s.form == e.form):
		return true
	case same, head.Supersedes(s.timestamp, e.timestamp, clock):
		e.setLatest(s)
	}
	return false
}

// setLatest makes a sample the latest.
func (e *entry) setLatest(s said) {
	e.timestamp, e.start, e.value, e.form = s.timestamp, hashOfStart(s.start), s.value, s.form
}
