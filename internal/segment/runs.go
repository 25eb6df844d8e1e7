package segment

import (
	"encoding/binary"
	"fmt"
)

// A scrape brings the series of a target in the order in which they were introduced,
// with one timestamp. So a block's samples are stored as runs: of series with
// consecutive ordinals, and of equal timestamps. Ordinals have no holes where references
// do, so most blocks are a few runs, and the previous values of a run lie side by side.
//
//	refs of the segment   7  8  9  12  13  40      in order of introduction
//	ordinals              0  1  2   3   4   5
//	samples of a block       8  9  12  13          one run: ordinal 1, length 4
//
// Sections:
//
//	refs        varint   first ordinal − end of the previous run
//	            uvarint  length − 1
//	timestamps  varint   timestamp − that of the previous run
//	            uvarint  length − 1

// run is a number of samples whose series have consecutive ordinals.
type run struct{ ordinal, length int }

// blockRuns looks up the series of the samples.
func (e *Encoder) blockRuns(s *Samples) error {
	if !s.whole() {
		return fmt.Errorf("%w: sample columns of unequal length", ErrCorrupt)
	}
	e.runs = e.runs[:0]
	for _, r := range s.Refs {
		for r.Length > 0 {
			first, ok := e.index.get(e.refs, r.First)
			if !ok {
				return &UnknownRefError{Ref: r.First}
			}
			n := consecutive(e.refs[first:], r.Length)
			if i := len(e.runs) - 1; i >= 0 && e.runs[i].ordinal+e.runs[i].length == first {
				e.runs[i].length += n
			} else {
				e.runs = append(e.runs, run{first, n})
			}
			r.First += uint64(n)
			r.Length -= n
		}
	}
	return nil
}

// consecutive returns how many references at the start of refs, which ascend, have no
// hole between them; n at most.
func consecutive(refs []uint64, n int) int {
	n = min(n, len(refs))
	if refs[n-1]-refs[0] == uint64(n-1) {
		return n
	}
	for i := 1; ; i++ {
		if refs[i]-refs[0] != uint64(i) {
			return i
		}
	}
}

// blockSamples fills the columns of the samples.
func (e *Encoder) blockSamples(s *Samples, h *FrameHeader) {
	e.undo = resize(e.undo, len(s.Values))
	e.values.reset(len(s.Values))
	refs := e.columns[blockRefs]
	i, end := 0, 0
	for _, r := range e.runs {
		refs = binary.AppendVarint(refs, int64(r.ordinal-end))
		refs = binary.AppendUvarint(refs, uint64(r.length-1))
		end = r.ordinal + r.length
		previous := e.bits[r.ordinal:end]
		copy(e.undo[i:], previous)
		e.values.append(i, s.Values[i:i+r.length], previous)
		i += r.length
	}
	e.columns[blockRefs] = refs
	e.columns[blockTimestamps] = appendTimes(e.columns[blockTimestamps], s.Times)
	for _, r := range s.Times {
		h.MinTime, h.MaxTime = min(h.MinTime, r.Time), max(h.MaxTime, r.Time)
	}
	if !zero(s.Starts) {
		e.columns[blockStarts] = appendTimes(e.columns[blockStarts], s.Starts)
	}
	e.values.copyTo(e.columns[blockTags : blockXORs+1])
}

// restoreValues undoes what blockSamples did to the previous values, last run first,
// since a series may be in several runs.
func (e *Encoder) restoreValues() {
	rest := e.undo
	for i := len(e.runs) - 1; i >= 0; i-- {
		r := e.runs[i]
		from := len(rest) - r.length
		copy(e.bits[r.ordinal:], rest[from:])
		rest = rest[:from]
	}
}

// samples reads the columns of the samples.
func (d *Decoder) samples(h *FrameHeader, sections *[blockSections][]byte, s *Samples) error {
	n := int(h.Samples)
	values := valuesOf(sections[blockTags : blockXORs+1])
	if len(values.tags) != (n+3)/4 {
		return fmt.Errorf("samples: %w: count", ErrCorrupt)
	}
	s.Reset()
	s.Values = resize(s.Values, n)
	r := sectionReader{b: sections[blockRefs]}
	var next int64 // end of the previous run
	for i := 0; i < n; {
		next += r.varint()
		length := r.uvarint()
		if r.bad || length >= uint64(n-i) || uint64(next) > uint64(len(d.refs)) ||
			length >= uint64(len(d.refs))-uint64(next) {
			return fmt.Errorf("samples: %w: reference", ErrCorrupt)
		}
		first, end := int(next), int(next)+int(length)+1
		for refs := d.refs[first:end]; len(refs) > 0; {
			n := consecutive(refs, len(refs))
			s.Refs = addRefs(s.Refs, refs[0], n)
			refs = refs[n:]
		}
		if !values.next(i, d.bits[first:end], s.Values[i:]) {
			return fmt.Errorf("samples: %w: value", ErrCorrupt)
		}
		i += end - first
		next = int64(end)
	}
	if !values.done() {
		return fmt.Errorf("samples: %w: bytes left", ErrCorrupt)
	}
	if err := r.end("samples"); err != nil {
		return err
	}
	var err error
	if s.Times, err = readTimes(sections[blockTimestamps], "timestamps", n, s.Times); err != nil {
		return err
	}
	if len(sections[blockStarts]) > 0 {
		s.Starts, err = readTimes(sections[blockStarts], "start timestamps", n, s.Starts)
	}
	if zero(s.Starts) {
		s.Starts = s.Starts[:0]
	}
	return err
}

func appendTimes(dst []byte, runs []TimeRun) []byte {
	var before int64
	for _, r := range runs {
		dst = binary.AppendVarint(dst, r.Time-before)
		dst = binary.AppendUvarint(dst, uint64(r.Length-1))
		before = r.Time
	}
	return dst
}

func readTimes(section []byte, name string, samples int, runs []TimeRun) ([]TimeRun, error) {
	r := sectionReader{b: section}
	var t int64
	for samples > 0 {
		t += r.varint()
		n := r.uvarint()
		if r.bad || n >= uint64(samples) {
			return runs, fmt.Errorf("%s: %w", name, ErrCorrupt)
		}
		runs = addTimes(runs, t, int(n)+1)
		samples -= int(n) + 1
	}
	return runs, r.end(name)
}
