package forwarder

// readahead loads the entries that come next into the processor's cache. Series that were
// new together have slots in a row, and as a rule come together. To follow their guesses
// waits for one entry after another; loads that do not depend on each other overlap. As
// long as slots are in a row, each time twice as many are loaded.
type readahead struct {
	from, n uint32 // the slots that were loaded
	loaded  uint32 // keeps the compiler from removing the loads
}

// maxReadahead are entries of which the innermost cache holds several times as many.
const maxReadahead = 64

// has says whether the entry of a slot was loaded.
func (r *readahead) has(slot uint32) bool {
	return slot-r.from < r.n // modulo 2³², so that those before it are far ahead
}

// load loads the entry of a slot, and those after it.
func (r *readahead) load(slot uint32, in *intern) {
	n := uint32(1)
	if slot == r.from+r.n {
		n = min(max(1, 2*r.n), maxReadahead)
	}
	r.from, r.n = slot, n
	chunk, at := in.chunks[slot/chunkEntries], slot%chunkEntries
	for i := at; i < min(at+n, chunkEntries); i++ {
		r.loaded += chunk[i].next
	}
}
