package server

// given remembers which series of one log have a reference on one stream, a bit
// each. A nil given is that of a stream without references.
type given struct {
	ordinal uint64 // of the log within the stream
	series  int
	pages   map[uint64]*givenPage
	last    *givenPage // blocks come back to the same page again and again
	number  uint64     // of last
}

const givenPageSize = 4096

type givenPage [givenPageSize / 64]uint64

// ordinalBits are what a reference on a stream has more than that in the log,
// since the references of two logs are the same numbers. A log beyond is sent
// with labels throughout.
const ordinalBits = 8

func newGiven(ordinal int) *given {
	if ordinal >= 1<<ordinalBits {
		return nil
	}
	return &given{ordinal: uint64(ordinal), pages: make(map[uint64]*givenPage)}
}

func (g *given) reference(ref uint64) uint64 { return ref<<ordinalBits | g.ordinal }

// take says whether a series has its reference already. If not, it is taken to
// get one now.
func (g *given) take(ref uint64) bool {
	number := ref / givenPageSize
	if g.last == nil || g.number != number {
		page := g.pages[number]
		if page == nil {
			page = new(givenPage)
			g.pages[number] = page
		}
		g.last, g.number = page, number
	}
	word, bit := &g.last[ref%givenPageSize/64], uint64(1)<<(ref%64)
	if *word&bit != 0 {
		return true
	}
	*word |= bit
	g.series++
	return false
}

func (g *given) clear() {
	clear(g.pages)
	g.last, g.series = nil, 0
}

// forgetSlack is how many references may belong to series that are gone, on
// top of as many as there are series.
const forgetSlack = 10000

// open begins a series of a log in the response, by its reference if it has
// one. It reports whether the labels are known; if not, nothing was begun.
func (st *stream) open(src *source, ref uint64, labels labelSource) bool {
	if src.given == nil {
		return st.out.open(ref, labels)
	}
	if st.out.empty() && st.tooManyGiven() {
		for _, s := range st.sources {
			s.given.clear()
		}
		st.out.forget = true
	}
	if src.given.take(ref) {
		st.out.begin(src.given.reference(ref))
		return true
	}
	if !st.out.open(ref, labels) {
		return false
	}
	st.out.reference = src.given.reference(ref)
	return true
}

// tooManyGiven says that most references belong to series that are gone.
func (st *stream) tooManyGiven() bool {
	series, most := 0, forgetSlack
	for _, src := range st.sources {
		if src.given == nil {
			return false // Logs beyond the ordinals go without.
		}
		series += src.given.series
		most += 2 * src.replica.head.Len()
	}
	return series > most
}
