package remotewrite

import (
	"fmt"
	"math"
	"unsafe"
)

// memory counts what a request takes, before it takes it. A symbol, a sample or a label
// of a few bytes has an entry in a column, so all may be many times the body.
type memory struct {
	used    int64 // by the capacities, and all scratch memory that is referred to
	allowed int64
	more    func(total int64) error
	err     error // why there was no more
}

// Within bounds the memory of the next Decode: allowed bytes, and beyond these what
// more grants, which is asked with the sum; Decode's error wraps its error. What was
// kept from the last Decode counts, and is freed if it is too much. What Labels takes
// afterwards does not count; see Forget.
func (r *Request) Within(allowed int64, more func(total int64) error) {
	r.memory.allowed, r.memory.more = allowed, more
}

// reserve counts n more bytes, and says whether that is allowed.
func (m *memory) reserve(n int) bool {
	if m.err != nil {
		return false
	}
	total := m.used + int64(n)
	if total > m.allowed {
		if err := m.more(total); err != nil {
			m.err = fmt.Errorf("%w: %w", ErrTooLarge, err)
			return false
		}
		m.allowed = total
	}
	m.used = total
	return true
}

// unbounded holds until Within is called.
func (m *memory) unbounded() { m.allowed, m.more = math.MaxInt64, nil }

func (m *memory) release(n int) { m.used -= int64(n) }

// grow enlarges a full column, if that is allowed. While it is copied both count.
func grow[T any](m *memory, column *[]T) bool {
	const least, fast = 16, 1024
	n := cap(*column)
	size := max(least, 2*n)
	if n >= fast {
		size = n + n/4
	}
	if !m.reserve(size * sizeOf[T]()) {
		return false
	}
	larger := make([]T, len(*column), size)
	copy(larger, *column)
	*column = larger
	m.release(n * sizeOf[T]())
	return true
}

// full says whether one more entry takes memory.
func full[T any](column []T) bool { return len(column) == cap(column) }

const (
	leastScratch   = 1 << 10
	largestScratch = 4 << 20
)

// space makes room for n more bytes in the scratch memory, and says whether there is.
// What was written before stays where it is.
func (r *Request) space(n int) bool {
	if cap(r.scratch)-len(r.scratch) >= n {
		return true
	}
	size := max(n, leastScratch, min(2*cap(r.scratch), largestScratch))
	if !r.memory.reserve(size) {
		return false
	}
	r.scratch = make([]byte, 0, size)
	return true
}

// spaceForBody makes room for a decoded body of n bytes.
func (r *Request) spaceForBody(n int) bool {
	if n <= cap(r.body) {
		return true
	}
	const most = 64 << 10 // for bodies that are a little larger than the last one
	r.memory.release(cap(r.body))
	r.body = nil
	size := n + min(n/8, most)
	if !r.memory.reserve(size) {
		return false
	}
	r.body = make([]byte, 0, size)
	return true
}

// spaceForHashes makes room for the first hashes of the symbols, and reserves it for
// the second ones, which are worked out when a key is asked for.
func (r *Request) spaceForHashes() bool {
	n := len(r.symbols)
	if n > cap(r.hashes) {
		r.memory.release(sizeOf[uint64]() * cap(r.hashes))
		r.hashes = nil
		if !r.memory.reserve(sizeOf[uint64]() * cap(r.symbols)) {
			return false
		}
		r.hashes = make([]uint64, 0, cap(r.symbols))
	}
	return n <= cap(r.hashesB) || r.memory.reserve(sizeOf[uint64]()*(n-cap(r.hashesB)))
}

// damaged is errDamaged, unless memory was refused.
func (r *Request) damaged() error {
	if r.memory.err != nil {
		return r.memory.err
	}
	return errDamaged
}

// Size is how many bytes of memory the request holds, most of it for the next one.
func (r *Request) Size() int64 {
	n := cap(r.body) + cap(r.scratch) + cap(r.wire)
	n += held(r.symbols) + held(r.hashes) + held(r.hashesB)
	n += held(r.Series) + held(r.Samples) + held(r.Histograms) + held(r.Exemplars)
	n += held(r.Meta) + held(r.Families) + held(r.Senders)
	n += r.dictionary.held() + r.h.size()
	return int64(n)
}

// Used is how many bytes of memory count for it.
func (r *Request) Used() int64 { return r.memory.used }

// Forget frees the dictionary, if it is large after very many new series.
func (r *Request) Forget() {
	const keep = 1 << 20
	if r.dictionary.held() > keep {
		r.dictionary = dictionary{}
	}
}

// held is what the dictionary took, or still has memory for, whichever is more.
func (d *dictionary) held() int { return max(d.size, cap(d.labels)*labelSize) }

func (h *histogramScan) size() int {
	return held(h.negSpans) + held(h.posSpans) + held(h.negDeltas) + held(h.posDeltas) + held(h.negCounts) + held(h.posCounts) + held(h.custom)
}

func held[T any](s []T) int { return cap(s) * sizeOf[T]() }

func sizeOf[T any]() int {
	var one T
	return int(unsafe.Sizeof(one))
}
