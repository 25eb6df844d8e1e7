package forwarder

import "github.com/promgrpc/exporter/forwarder/remotewrite"

// maxAliases bounds how many spellings of one label set are remembered, since
// a sender could make up any number of them. Others are parsed every time.
const maxAliases = 8

// entry is what the appender knows of a series, or of another spelling of its
// labels. It fills one cache line.
type entry struct {
	key remotewrite.Key
	ref uint64
	// next is the slot of the series that came after this one last time.
	next uint32
	// own is the slot of the series itself; for an alias it is another slot.
	own uint32

	// The latest sample: a value's bits or a histogram's hash.
	timestamp int64
	value     uint64
	// meta is the hash of what the series said last about its family.
	meta      uint64
	sampled   bool
	histogram bool
	aliases   uint8
}

// intern finds series by the key of their labels.
//
// Senders repeat the same series in the same order, so each entry remembers
// which one followed it. As long as that guess holds, the map is not asked:
// its cache misses would cost more than everything else here.
type intern struct {
	entries []entry // the first one is nobody's
	slots   map[remotewrite.Key]uint32
	free    []uint32
	prev    uint32
}

func newIntern(series int) *intern {
	return &intern{
		entries: make([]entry, 1, series+series/8+64),
		slots:   make(map[remotewrite.Key]uint32, series),
	}
}

// begin says that a new request begins.
func (in *intern) begin() { in.prev = 0 }

// guess returns the series that followed the one before last time, if half of a
// key says that it does so again: that another series has the same half is as
// likely as any 64 bits are, however many series there are.
func (in *intern) guess(hash uint64) (uint32, bool) {
	guess := in.entries[in.prev].next
	if guess == 0 || in.entries[guess].key.A != hash {
		return 0, false
	}
	in.prev = guess
	return guess, true
}

// find returns the slot of a key.
func (in *intern) find(k remotewrite.Key) (uint32, bool) {
	slot, ok := in.slots[k]
	if ok {
		in.follow(slot)
	}
	return slot, ok
}

// follow notes that slot comes after the one before.
func (in *intern) follow(slot uint32) {
	if in.prev != 0 {
		in.entries[in.prev].next = slot
	}
	in.prev = slot
}

// series returns the entry of the series itself.
func (in *intern) series(slot uint32) *entry {
	e := &in.entries[slot]
	if e.own != slot {
		e = &in.entries[e.own]
	}
	return e
}

// add takes in a series.
func (in *intern) add(k remotewrite.Key, ref uint64) uint32 {
	slot := in.slot()
	in.entries[slot] = entry{key: k, ref: ref, own: slot}
	in.slots[k] = slot
	return slot
}

// alias takes in another spelling of the labels of a series, and returns the
// slot to be used for it.
func (in *intern) alias(k remotewrite.Key, own uint32) uint32 {
	if in.entries[own].aliases == maxAliases {
		return own
	}
	in.entries[own].aliases++
	slot := in.slot()
	in.entries[slot] = entry{key: k, ref: in.entries[own].ref, own: own}
	in.slots[k] = slot
	return slot
}

func (in *intern) slot() uint32 {
	if n := len(in.free); n > 0 {
		slot := in.free[n-1]
		in.free = in.free[:n-1]
		return slot
	}
	in.entries = append(in.entries, entry{})
	return uint32(len(in.entries) - 1)
}

// drop forgets the series of these references.
func (in *intern) drop(refs map[uint64]struct{}) {
	if len(refs) == 0 {
		return
	}
	for slot := 1; slot < len(in.entries); slot++ {
		e := &in.entries[slot]
		if _, ok := refs[e.ref]; !ok || e.ref == 0 {
			continue
		}
		delete(in.slots, e.key)
		*e = entry{}
		in.free = append(in.free, uint32(slot))
	}
}

// repeats says whether a sample is the latest one once more, and takes it over
// as the latest unless it is older.
func (e *entry) repeats(timestamp int64, value uint64, isHistogram bool) bool {
	if e.sampled && timestamp <= e.timestamp {
		if timestamp < e.timestamp {
			return false
		}
		if value == e.value && isHistogram == e.histogram {
			return true
		}
	}
	e.sampled, e.timestamp, e.value, e.histogram = true, timestamp, value, isHistogram
	return false
}
