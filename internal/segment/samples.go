package segment

import (
	"iter"
	"slices"
)

// Sample is a float sample.
type Sample struct {
	Ref uint64
	// Timestamp in ms, and that of the start, 0 where there is none.
	Timestamp, StartTimestamp int64
	// Value counts by its bit pattern: stale markers and -0 are kept.
	Value float64
}

// Samples are float samples in order of arrival, as columns. A request brings the
// series of a target in the order in which they were first seen, and one timestamp for
// many of them: so references and timestamps are runs, each as long as possible. The
// lengths of a column's runs sum up to the number of values.
type Samples struct {
	Refs   []RefRun
	Times  []TimeRun
	Starts []TimeRun // none when all are 0
	Values []float64
}

// RefRun is a number of samples whose series have consecutive references.
type RefRun struct {
	First  uint64
	Length int
}

// TimeRun is a number of samples with the same timestamp, in ms.
type TimeRun struct {
	Time   int64
	Length int
}

// Len is the number of samples.
func (s *Samples) Len() int { return len(s.Values) }

// Reset removes all samples and keeps the memory.
func (s *Samples) Reset() {
	s.Refs, s.Times, s.Starts, s.Values = s.Refs[:0], s.Times[:0], s.Starts[:0], s.Values[:0]
}

// Add adds a sample.
func (s *Samples) Add(x Sample) {
	if x.StartTimestamp != 0 && len(s.Starts) == 0 {
		s.Starts = addTimes(s.Starts, 0, len(s.Values))
	}
	if len(s.Starts) > 0 || x.StartTimestamp != 0 {
		s.Starts = addTimes(s.Starts, x.StartTimestamp, 1)
	}
	s.Refs = addRefs(s.Refs, x.Ref, 1)
	s.Times = addTimes(s.Times, x.Timestamp, 1)
	s.Values = append(s.Values, x.Value)
}

// addRefs adds a run, or makes the last one longer.
func addRefs(runs []RefRun, first uint64, n int) []RefRun {
	if i := len(runs) - 1; i >= 0 && runs[i].First+uint64(runs[i].Length) == first {
		runs[i].Length += n
		return runs
	}
	return append(runs, RefRun{first, n})
}

func addTimes(runs []TimeRun, t int64, n int) []TimeRun {
	if n == 0 {
		return runs
	}
	if i := len(runs) - 1; i >= 0 && runs[i].Time == t {
		runs[i].Length += n
		return runs
	}
	return append(runs, TimeRun{t, n})
}

// All yields the samples in order.
func (s *Samples) All() iter.Seq[Sample] {
	return func(yield func(Sample) bool) {
		times, starts := timesReader{rest: s.Times}, timesReader{rest: s.Starts}
		i := 0
		for _, run := range s.Refs {
			for ref := run.First; ref < run.First+uint64(run.Length); ref++ {
				if !yield(Sample{Ref: ref, Timestamp: times.next(), StartTimestamp: starts.next(), Value: s.Values[i]}) {
					return
				}
				i++
			}
		}
	}
}

// timesReader reads the timestamps of runs one by one, and 0 after the last.
type timesReader struct {
	rest []TimeRun
	run  TimeRun
}

func (r *timesReader) next() int64 {
	if r.run.Length == 0 {
		if len(r.rest) == 0 {
			return 0
		}
		r.run, r.rest = r.rest[0], r.rest[1:]
	}
	r.run.Length--
	return r.run.Time
}

// Part is consecutive samples of a block with equal timestamps and consecutive
// references.
type Part struct {
	First                     uint64
	Timestamp, StartTimestamp int64
	Values                    []float64
}

// Parts yields the samples in order, in as few parts as possible. The values alias
// those of s.
func (s *Samples) Parts() iter.Seq[Part] {
	return func(yield func(Part) bool) {
		for r := (partsReader{s: *s}); len(r.s.Values) > 0; {
			if !yield(r.next(len(r.s.Values))) {
				return
			}
		}
	}
}

// partsReader reads samples part by part.
type partsReader struct {
	s         Samples // what is left of the columns after the runs at hand
	ref       RefRun
	at, start TimeRun
}

// next returns the next part, of at most so many samples. There must be samples left.
func (r *partsReader) next(most int) Part {
	if r.ref.Length == 0 {
		r.ref, r.s.Refs = r.s.Refs[0], r.s.Refs[1:]
	}
	if r.at.Length == 0 {
		r.at, r.s.Times = r.s.Times[0], r.s.Times[1:]
	}
	n := min(most, r.ref.Length, r.at.Length)
	if len(r.s.Starts)+r.start.Length > 0 {
		if r.start.Length == 0 {
			r.start, r.s.Starts = r.s.Starts[0], r.s.Starts[1:]
		}
		n = min(n, r.start.Length)
		r.start.Length -= n
	}
	part := Part{r.ref.First, r.at.Time, r.start.Time, r.s.Values[:n]}
	r.s.Values = r.s.Values[n:]
	r.ref.First += uint64(n)
	r.ref.Length -= n
	r.at.Length -= n
	return part
}

// whole reports whether the runs of each column sum up to the number of values.
func (s *Samples) whole() bool {
	refs := 0
	for _, r := range s.Refs {
		refs += r.Length
	}
	return refs == len(s.Values) && lengthOf(s.Times) == len(s.Values) && (len(s.Starts) == 0 || lengthOf(s.Starts) == len(s.Values))
}

func lengthOf(runs []TimeRun) (n int) {
	for _, r := range runs {
		n += r.Length
	}
	return n
}

// zero reports whether all timestamps are 0.
func zero(runs []TimeRun) bool {
	return !slices.ContainsFunc(runs, func(r TimeRun) bool { return r.Time != 0 })
}
