package stream

import "github.com/promgrpc/exporter/internal/refset"

// given remembers which series of one log have a reference on one stream. A nil
// given is that of a stream without references.
type given struct {
	refset.Set
	ordinal uint64 // of the log within the stream
}

// ordinalBits are what a reference on a stream has more than that in the log,
// since the references of two logs are the same numbers. A log beyond is sent
// with labels throughout.
const ordinalBits = 8

func newGiven(ordinal int) *given {
	if ordinal >= 1<<ordinalBits {
		return nil
	}
	return &given{ordinal: uint64(ordinal)}
}

func (g *given) reference(ref uint64) uint64 { return ref<<ordinalBits | g.ordinal }

// forgetSlack is how many references may belong to series that are gone, on
// top of as many as there are series.
const forgetSlack = 10000

// open begins a series of a log in the response, by its reference if it has
// one. If it cannot, nothing was begun.
func (st *stream) open(src *source, ref uint64, labels labelSource) error {
	if src.given == nil {
		return st.out.open(ref, labels)
	}
	if st.out.empty() && st.tooManyGiven() {
		for _, s := range st.sources {
			s.given.Clear()
		}
		st.out.forget = true
	}
	if src.given.Add(ref) {
		st.out.begin(src.given.reference(ref))
		return nil
	}
	if err := st.out.open(ref, labels); err != nil {
		src.given.Remove(ref)
		return err
	}
	st.out.reference = src.given.reference(ref)
	return nil
}

// tooManyGiven says that most references belong to series that are gone.
func (st *stream) tooManyGiven() bool {
	series, most := 0, forgetSlack
	for _, src := range st.sources {
		if src.given == nil {
			return false // Logs beyond the ordinals go without.
		}
		series += src.given.Len()
		most += 2 * src.replica.Head.Len()
	}
	return series > most
}
