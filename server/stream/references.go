package stream

import "github.com/promgrpc/exporter/internal/refset"

// introduced are the series of one log whose labels were sent under a reference. A
// nil one is that of a stream without references.
type introduced struct {
	refset.Set
	log uint64 // its number within the stream
}

// logBits are the low bits of a reference: the log's number, since two logs have the
// same refs. A log for whose number they are not enough is sent with labels throughout.
const logBits = 8

func newIntroduced(log int) *introduced {
	if log >= 1<<logBits {
		return nil
	}
	return &introduced{log: uint64(log)}
}

// reference is the series' in the stream.
func (i *introduced) reference(ref uint64) uint64 { return ref<<logBits | i.log }

// forgetSlack is how many references may belong to series that are gone, on top of as
// many as there are series.
const forgetSlack = 10000

// openSeries opens a series of a log in the response, by its reference if it was
// introduced. If that fails, the response is what it was.
func (st *stream) openSeries(src *source, ref uint64, from labelSource) error {
	if src.introduced == nil {
		return st.out.openSeries(ref, from)
	}
	if st.out.empty() && st.mostAreGone() {
		for _, s := range st.sources {
			s.introduced.Clear()
		}
		st.out.forget = true
	}
	reference := src.introduced.reference(ref)
	if src.introduced.Add(ref) {
		st.out.openReferenced(reference)
		return nil
	}
	if err := st.out.openSeries(ref, from); err != nil {
		src.introduced.Remove(ref)
		return err
	}
	st.out.reference = reference
	return nil
}

// mostAreGone says that most references belong to series that are gone.
func (st *stream) mostAreGone() bool {
	series, most := 0, forgetSlack
	for _, src := range st.sources {
		if src.introduced == nil {
			return false // a log without references
		}
		series += src.introduced.Len()
		most += 2 * src.replica.Head.Len()
	}
	return series > most
}
