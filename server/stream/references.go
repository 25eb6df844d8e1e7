package stream

import "github.com/promgrpc/exporter/internal/refset"

// introduced are the series of one log whose labels were sent under a reference. A
// nil one is that of a stream without references.
type introduced struct {
	refset.Set
	log uint64 // its number within the stream
	// stride and part make the stream's references apart from those of others, with which
	// a router makes one stream of it.
	stride, part uint64
	// numbers stand for the refs where those would tell how many series there are that
	// the caller may not see: the order in which the stream came to the series. Nil where
	// they need not.
	numbers map[uint64]uint64
}

// logBits are the low bits of a reference: the log's number, since two logs have the
// same refs. A log for whose number they are not enough is sent with labels throughout.
const logBits = 8

func (st *stream) newIntroduced() *introduced {
	log := len(st.sources)
	if log >= 1<<logBits {
		return nil
	}
	i := &introduced{log: uint64(log), stride: st.stride, part: st.part}
	if st.rights.Restricted() {
		i.numbers = map[uint64]uint64{}
	}
	return i
}

// reference is the series' in the stream.
func (i *introduced) reference(ref uint64) uint64 {
	if i.numbers != nil {
		number, ok := i.numbers[ref]
		if !ok {
			number = uint64(len(i.numbers)) + 1
			i.numbers[ref] = number
		}
		ref = number
	}
	return (ref<<logBits|i.log)*i.stride + i.part
}

// Clear forgets all series.
func (i *introduced) Clear() {
	i.Set.Clear()
	clear(i.numbers)
}

// numberBytes is about what a map takes for a number.
const numberBytes = 40

// Bytes is about what it takes in memory.
func (i *introduced) Bytes() int64 { return i.Set.Bytes() + numberBytes*int64(len(i.numbers)) }

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

// mostAreGone says that most references belong to series that are gone. Where the number
// of all series must not show, those of the stream are counted, now and then.
func (st *stream) mostAreGone() bool {
	if st.rights.Restricted() {
		return st.mostVisibleAreGone()
	}
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

func (st *stream) mostVisibleAreGone() bool {
	series := 0
	for _, src := range st.sources {
		if src.introduced == nil {
			return false // a log without references
		}
		series += src.introduced.Len()
	}
	if series <= max(forgetSlack, st.forgetAbove) {
		return false
	}
	live := 0
	for _, src := range st.sources {
		for ref := range src.introduced.numbers {
			if _, ok := src.replica.Head.Latest(ref); ok {
				live++
			}
		}
	}
	st.forgetAbove = 2 * series
	return series > forgetSlack+2*live
}
