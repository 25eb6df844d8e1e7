// Package refset keeps sets of series of one log by their references, a bit each.
//
// References grow and are dense where series are live: so a set is pages of
// consecutive references, and has none where it has no member.
//
//	ref   0 … 4095   4096 … 8191   8192 … 12287
//	     ┌────────┐   (no page)    ┌────────┐
//	     │10110…01│                │00100…00│
//	     └────────┘                └────────┘
//
// Guaranteed: a set has memory for the pages that ever had a member, as Bytes says. Not
// guaranteed: that a page is freed when its last member is removed. Nothing here may
// be called concurrently on one value.
package refset

import "math/bits"

// PageSize is how many references share a page.
const PageSize = 4096

// PageBytes is what a page takes, and EntryBytes about what a map from numbers takes
// for each of its pages besides.
const (
	PageBytes  = PageSize / 8
	EntryBytes = 32
)

// Page is a set of references of one page, the one whose number is ref/PageSize. The
// caller passes no others.
type Page [PageSize / 64]uint64

func locate(ref uint64) (word, bit uint64) { return ref % PageSize / 64, 1 << (ref % 64) }

// Has reports whether a reference is in the set.
func (p *Page) Has(ref uint64) bool {
	word, bit := locate(ref)
	return p[word]&bit != 0
}

// Add puts a reference into the set, and reports whether it was there already.
func (p *Page) Add(ref uint64) (had bool) {
	word, bit := locate(ref)
	had = p[word]&bit != 0
	p[word] |= bit
	return had
}

// Remove takes a reference out of the set.
func (p *Page) Remove(ref uint64) {
	word, bit := locate(ref)
	p[word] &^= bit
}

// NextMissing returns the first reference from ref on that is not in the set, and end
// if there is none below it. All of them have to be of this page.
func (p *Page) NextMissing(ref, end uint64) uint64 {
	for ref < end {
		if missing := ^p[ref%PageSize/64] >> (ref % 64); missing != 0 {
			return min(end, ref+uint64(bits.TrailingZeros64(missing)))
		}
		ref = ref&^63 + 64
	}
	return end
}

// Next returns the first reference from ref on that is in the set, and end if there is
// none below it. All of them have to be of this page.
func (p *Page) Next(ref, end uint64) uint64 {
	for ref < end {
		if rest := p[ref%PageSize/64] >> (ref % 64); rest != 0 {
			return min(end, ref+uint64(bits.TrailingZeros64(rest)))
		}
		ref = ref&^63 + 64
	}
	return end
}

// Set is a set of references. The zero Set is empty.
type Set struct {
	size   int
	pages  map[uint64]*Page
	last   *Page  // blocks come back to the same page again and again
	number uint64 // of last
}

// Len is how many references are in the set.
func (s *Set) Len() int { return s.size }

// Bytes is about what the set takes in memory.
func (s *Set) Bytes() int64 { return int64(len(s.pages)) * (PageBytes + EntryBytes) }

// Clear empties the set and gives up its memory.
func (s *Set) Clear() { *s = Set{} }

// Add puts a reference into the set, and reports whether it was there already.
func (s *Set) Add(ref uint64) (had bool) {
	number := ref / PageSize
	if s.last == nil || s.number != number {
		page := s.pages[number]
		if page == nil {
			if s.pages == nil {
				s.pages = make(map[uint64]*Page)
			}
			page = new(Page)
			s.pages[number] = page
		}
		s.last, s.number = page, number
	}
	if s.last.Add(ref) {
		return true
	}
	s.size++
	return false
}

// Has reports whether a reference is in the set.
func (s *Set) Has(ref uint64) bool {
	if s.size == 0 {
		return false
	}
	page := s.pages[ref/PageSize]
	return page != nil && page.Has(ref)
}

// Remove takes a reference out of the set.
func (s *Set) Remove(ref uint64) {
	if page := s.pages[ref/PageSize]; page != nil && page.Has(ref) {
		page.Remove(ref)
		s.size--
	}
}
