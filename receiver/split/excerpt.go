package split

import "encoding/binary"

// Where series of one group follow each other for long, as those of a target do, their part
// need not be compressed anew: the elements of the body's own block are taken over. These are
// literals, and copies of what came before. Nearly all that lie within a run copy from it, and
// stay as they are, so many are taken over at a time, and none of what they say is touched. What
// reaches back to before the run is written again: as a copy, if the part has it in the run
// before, and else as a literal. So a run begins with more literals than it would if it were
// compressed anew. Where that makes parts too long, because runs are short, they are.

const (
	// leastCopy is what a copy is written for: with the header of a literal before it, it
	// takes six bytes at most.
	leastCopy = 6
	// mostOffset is how far back a copy of three bytes reaches.
	mostOffset = 1<<16 - 1
	// firstSeries is what the first series of a part may take, which has nothing to copy.
	firstSeries = 1 << 10
)

// excerpt is the part of a group.
type excerpt struct {
	block

	run span // that was appended last
	at  int  // where it begins in what the part says
}

// excerptParts writes parts as excerpts of the body. There are none if they would be longer
// than that by a quarter, if there is more to them than runs of series, or if the body has
// elements that S2 has and snappy has not.
func (s *splitter) excerptParts(body []byte) (parts []Part, err error) {
	if len(s.pieces) > 0 || len(s.families) > 0 {
		return nil, nil
	}
	defer func() {
		for i := range s.excerpts {
			s.excerpts[i].drop()
		}
	}()
	_, header := binary.Uvarint(body)
	e := elements{block: body, i: header}
	written, most := 0, 0
	for i := range s.entries {
		run := &s.entries[i]
		x := &s.excerpts[run.group]
		if x.memory == nil {
			if err := x.begin(s.ask); err != nil {
				return nil, err
			}
			most += firstSeries
		}
		written -= len(x.memory.Bytes)
		if known, err := x.add(run.span, &e, s.decoded.Bytes); !known || err != nil {
			return nil, err
		}
		if written += len(x.memory.Bytes); written > most+e.i*5/4 {
			return nil, nil
		}
	}
	for group := range s.excerpts {
		if x := &s.excerpts[group]; x.memory != nil {
			p := Part{Group: group, Series: int(s.lists[group].series)}
			p.Body, p.memory = x.end()
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// add appends a run, and takes the elements to where that ends. It returns false if one is
// not snappy's.
func (x *excerpt) add(run span, e *elements, decoded []byte) (known bool, err error) {
	start, end, begins := int(run.start), int(run.end), x.total
	done := start // what of the run the part says
	for done < end {
		if from, at := e.i, e.at; at >= start && e.skim(start, end) {
			if err := x.literal(decoded[done:at]); err != nil {
				return false, err
			}
			if err := x.same(e.block[from:e.i]); err != nil {
				return false, err
			}
			done = e.at
			continue
		}
		n, offset, next := e.read()
		if next == 0 {
			return false, nil
		}
		from, to := max(e.at, start), min(e.at+n, end)
		if offset = x.reach(run, begins, from, to, offset); offset > 0 {
			if err := x.literal(decoded[done:from]); err != nil {
				return false, err
			}
			if err := x.copy(offset, to-from); err != nil {
				return false, err
			}
			done = to
		}
		if e.at+n > end { // The rest is of the next run.
			break
		}
		e.i, e.at = next, e.at+n
		if to == end {
			break
		}
	}
	x.run, x.at, x.total = run, begins, begins+end-start
	return true, x.literal(decoded[done:end])
}

// reach returns how far before from, in the part, that is which a copy says from there to to,
// 0 if it is to be a literal. The run begins at begins in the part.
func (x *excerpt) reach(run span, begins, from, to, offset int) int {
	if offset == 0 || to-from < leastCopy {
		return 0
	}
	if source := from - offset; source < int(run.start) {
		if source < int(x.run.start) || source+to-from > int(x.run.end) {
			return 0
		}
		offset = begins + from - int(run.start) - (x.at + source - int(x.run.start))
	}
	if offset > mostOffset {
		return 0
	}
	return offset
}

// same appends elements as they are.
func (x *excerpt) same(elements []byte) error {
	if err := x.grow(len(elements)); err != nil {
		return err
	}
	x.memory.Bytes = append(x.memory.Bytes, elements...)
	return nil
}

// literal appends an element that says b, none for no bytes.
func (x *excerpt) literal(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := x.grow(len(b) + 5); err != nil {
		return err
	}
	out := x.memory.Bytes
	switch n := len(b) - 1; {
	case n < 60:
		out = append(out, byte(n<<2))
	case n < 1<<8:
		out = append(out, 60<<2, byte(n))
	case n < 1<<16:
		out = append(out, 61<<2, byte(n), byte(n>>8))
	default:
		out = binary.LittleEndian.AppendUint32(append(out, 63<<2), uint32(n))
	}
	x.memory.Bytes = append(out, b...)
	return nil
}

// copy appends an element that says n bytes, 64 at most, from offset bytes before.
func (x *excerpt) copy(offset, n int) error {
	if err := x.grow(3); err != nil {
		return err
	}
	x.memory.Bytes = append(x.memory.Bytes, byte(n-1)<<2|tagCopy2, byte(offset), byte(offset>>8))
	return nil
}
