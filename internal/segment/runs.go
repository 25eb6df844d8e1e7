package segment

import (
	"encoding/binary"
	"fmt"
)

// The runs of samples are stored as follows; those of series are of consecutive
// ordinals, within which the previous values lie one after another, too.
//
//	refs        varint   first ordinal − the one behind the run before
//	            uvarint  length − 1
//	timestamps  varint   − that of the run before
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

// consecutive returns how many of ascending references, and n at most, follow one
// another without a hole.
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
	e.values.begin(len(s.Values))
	refs := e.columns[blockRefs]
	i, behind := 0, 0
	for _, r := range e.runs {
		refs = binary.AppendVarint(refs, int64(r.ordinal-behind))
		refs = binary.AppendUvarint(refs, uint64(r.length-1))
		behind = r.ordinal + r.length
		previous := e.bits[r.ordinal:behind]
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

// takeBackSamples puts the values back that the samples replaced.
func (e *Encoder) takeBackSamples() {
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
	c := cursor{b: sections[blockRefs]}
	var behind int64
	for i := 0; i < n; {
		behind += c.varint()
		length := c.uvarint()
		if c.bad || length >= uint64(n-i) || uint64(behind) > uint64(len(d.refs)) ||
			length >= uint64(len(d.refs))-uint64(behind) {
			return fmt.Errorf("samples: %w: reference", ErrCorrupt)
		}
		first, end := int(behind), int(behind)+int(length)+1
		for refs := d.refs[first:end]; len(refs) > 0; {
			n := consecutive(refs, len(refs))
			s.Refs = addRefs(s.Refs, refs[0], n)
			refs = refs[n:]
		}
		if !values.next(i, d.bits[first:end], s.Values[i:]) {
			return fmt.Errorf("samples: %w: value", ErrCorrupt)
		}
		i += end - first
		behind = int64(end)
	}
	if !values.done() {
		return fmt.Errorf("samples: %w: bytes left", ErrCorrupt)
	}
	if err := c.end("samples"); err != nil {
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
	c := cursor{b: section}
	var t int64
	for samples > 0 {
		t += c.varint()
		n := c.uvarint()
		if c.bad || n >= uint64(samples) {
			return runs, fmt.Errorf("%s: %w", name, ErrCorrupt)
		}
		runs = addTimes(runs, t, int(n)+1)
		samples -= int(n) + 1
	}
	return runs, c.end(name)
}
