package server

// refSet is a set of series of one log, a bit each.
type refSet struct {
	series int
	pages  map[uint64]*refPage
	last   *refPage // blocks come back to the same page again and again
	number uint64   // of last
}

// refPageSize is how many references share a page.
const refPageSize = 4096

type refPage [refPageSize / 64]uint64

// mapEntry is about what a map takes for a page, besides the page.
const mapEntry = 32

// add puts a series into the set, and says whether it was there already.
func (s *refSet) add(ref uint64) (had bool) {
	number := ref / refPageSize
	if s.last == nil || s.number != number {
		page := s.pages[number]
		if page == nil {
			if s.pages == nil {
				s.pages = make(map[uint64]*refPage)
			}
			page = new(refPage)
			s.pages[number] = page
		}
		s.last, s.number = page, number
	}
	word, bit := &s.last[ref%refPageSize/64], uint64(1)<<(ref%64)
	if *word&bit != 0 {
		return true
	}
	*word |= bit
	s.series++
	return false
}

func (s *refSet) remove(ref uint64) {
	if s.has(ref) {
		s.pages[ref/refPageSize][ref%refPageSize/64] &^= 1 << (ref % 64)
		s.series--
	}
}

func (s *refSet) has(ref uint64) bool {
	if s.series == 0 {
		return false
	}
	page := s.pages[ref/refPageSize]
	return page != nil && page[ref%refPageSize/64]&(1<<(ref%64)) != 0
}

func (s *refSet) clear() { *s = refSet{} }

func (s *refSet) bytes() int64 { return int64(len(s.pages)) * (refPageSize/8 + mapEntry) }
