package segment

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// A request brings the series of a target in the order in which they were first
// seen, and one timestamp for many of them. So both are stored as runs:
//
//	refs        varint   first ordinal − the one behind the run before
//	            uvarint  length − 1
//	timestamps  varint   − that of the run before
//	            uvarint  length − 1
//
// Within a run of ordinals the previous values lie one after another, too.

// run is a number of samples whose series have consecutive ordinals.
type run struct{ ordinal, length int }

// blockRuns looks up the series of the samples.
func (e *Encoder) blockRuns(s *Samples) error {
	if len(s.Timestamps) != len(s.Refs) || len(s.Values) != len(s.Refs) ||
		s.StartTimestamps != nil && len(s.StartTimestamps) != len(s.Refs) {
		return fmt.Errorf("%w: sample columns of unequal length", ErrCorrupt)
	}
	e.runs = e.runs[:0]
	for rest := s.Refs; len(rest) > 0; {
		first, ok := e.index.get(rest[0])
		if !ok {
			return &UnknownRefError{Ref: rest[0]}
		}
		n := matching(rest, e.refs[first:])
		e.runs = append(e.runs, run{first, n})
		rest = rest[n:]
	}
	return nil
}

// matching returns how many elements at the beginning of both are the same.
func matching(a, b []uint64) int {
	n := min(len(a), len(b))
	a, b = a[:n], b[:n]
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// blockSamples fills the columns of the samples.
func (e *Encoder) blockSamples(s *Samples, h *FrameHeader) {
	e.undo = resize(e.undo, len(s.Refs))
	e.values.begin(len(s.Refs))
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
	e.columns[blockTimestamps] = appendTimes(e.columns[blockTimestamps], s.Timestamps)
	if len(s.Timestamps) > 0 {
		h.MinTime = min(h.MinTime, slices.Min(s.Timestamps))
		h.MaxTime = max(h.MaxTime, slices.Max(s.Timestamps))
	}
	if slices.ContainsFunc(s.StartTimestamps, func(t int64) bool { return t != 0 }) {
		e.columns[blockStarts] = appendTimes(e.columns[blockStarts], s.StartTimestamps)
	}
	e.values.copyTo(e.columns[blockTags : blockXORs+1])
}

// takeBackSamples puts the values back that the samples replaced.
func (e *Encoder) takeBackSamples() {
	end := len(e.undo)
	for _, r := range slices.Backward(e.runs) {
		copy(e.bits[r.ordinal:], e.undo[end-r.length:end])
		end -= r.length
	}
}

// samples reads the columns of the samples.
func (d *Decoder) samples(h *FrameHeader, sections *[blockSections][]byte, s *Samples) error {
	n := int(h.Samples)
	values := valuesOf(sections[blockTags : blockXORs+1])
	if len(values.tags) != (n+3)/4 {
		return fmt.Errorf("samples: %w: count", ErrCorrupt)
	}
	s.Refs, s.Timestamps, s.Values = resize(s.Refs, n), resize(s.Timestamps, n), resize(s.Values, n)
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
		copy(s.Refs[i:], d.refs[first:end])
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
	if err := readTimes(sections[blockTimestamps], "timestamps", s.Timestamps); err != nil {
		return err
	}
	if len(sections[blockStarts]) == 0 {
		s.StartTimestamps = nil
		return nil
	}
	s.StartTimestamps = resize(s.StartTimestamps, n)
	return readTimes(sections[blockStarts], "start timestamps", s.StartTimestamps)
}

func appendTimes(dst []byte, times []int64) []byte {
	var before int64
	for len(times) > 0 {
		t := times[0]
		n := slices.IndexFunc(times, func(other int64) bool { return other != t })
		if n < 0 {
			n = len(times)
		}
		dst = binary.AppendVarint(dst, t-before)
		dst = binary.AppendUvarint(dst, uint64(n-1))
		before, times = t, times[n:]
	}
	return dst
}

func readTimes(section []byte, name string, times []int64) error {
	c := cursor{b: section}
	var t int64
	for len(times) > 0 {
		t += c.varint()
		n := c.uvarint()
		if c.bad || n >= uint64(len(times)) {
			return fmt.Errorf("%s: %w", name, ErrCorrupt)
		}
		for i := range n + 1 {
			times[i] = t
		}
		times = times[n+1:]
	}
	return c.end(name)
}
