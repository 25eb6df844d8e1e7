package split

import (
	"encoding/binary"

	"github.com/promgrpc/exporter/internal/placement"
	"github.com/promgrpc/exporter/internal/protoscan"
)

// write writes the parts. With an error some of them are returned, to be released.
func (s *splitter) write(schema Schema) (parts []Part, err error) {
	var families []bool
	if len(s.families) > 0 {
		families = make([]bool, len(s.lists))
		for _, group := range s.familyGroups() {
			families[group] = true
		}
	}
	for group := range s.lists {
		if s.lists[group].series == 0 && (families == nil || !families[group]) {
			continue
		}
		if err := s.out.start(s.ask); err != nil {
			return parts, err
		}
		if schema == V1 {
			err = s.partV1(group, families != nil && families[group])
		} else {
			err = s.partV2(group)
		}
		if err != nil {
			s.out.drop()
			return parts, err
		}
		p := Part{Group: group, Series: int(s.lists[group].series)}
		if p.Body, p.memory, err = s.out.finish(); err != nil {
			s.out.drop()
			return parts, err
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// partV1 writes the series of a group as they are, and the families.
func (s *splitter) partV1(group int, families bool) error {
	b := s.decoded.Bytes
	for i := s.lists[group].first; i >= 0; i = s.entries[i].next {
		e := &s.entries[i]
		if e.piece < 0 {
			if err := s.out.write(b[e.start:e.end]); err != nil {
				return err
			}
			continue
		}
		f, _ := protoscan.Read(b, int(e.start)) // It was read before.
		if err := s.fill(len(f.Bytes)); err != nil {
			return err
		}
		s.pick(f.Bytes, group, s.pieces[e.piece], &fieldsV1, s.copyField)
		if err := s.series(0x0a); err != nil {
			return err
		}
	}
	if families {
		for _, f := range s.families {
			if err := s.out.write(b[f.start:f.end]); err != nil {
				return err
			}
		}
	}
	return nil
}

// partV2 writes the series of a group, and then the symbols that they refer to.
func (s *splitter) partV2(group int) error {
	b := s.decoded.Bytes
	s.used = s.used[:0]
	if len(s.symbols) > 0 {
		if err := s.own(0, group); err != nil {
			return err
		}
	}
	var err error
	translate := func(f protoscan.Field, raw []byte) {
		if err == nil {
			err = s.translate(f, raw, group)
		}
	}
	for i := s.lists[group].first; i >= 0; i = s.entries[i].next {
		e := &s.entries[i]
		for at := int(e.start); at < int(e.end); {
			f, _ := protoscan.Read(b, at) // It was read before.
			at = f.Next
			if err := s.fill(mostOfRefs * len(f.Bytes)); err != nil {
				return err
			}
			if e.piece < 0 {
				each(f.Bytes, translate)
			} else {
				s.pick(f.Bytes, group, s.pieces[e.piece], &fieldsV2, translate)
			}
			if err != nil {
				return err
			}
			if err := s.series(0x2a); err != nil {
				return err
			}
		}
	}
	for _, ref := range s.used {
		one := &s.symbols[ref]
		if err := s.out.write(b[one.start:one.end]); err != nil {
			return err
		}
	}
	return nil
}

// series writes the series that is in the scratch memory, as a field with this tag.
func (s *splitter) series(tag byte) error {
	var head [1 + binary.MaxVarintLen32]byte
	head[0] = tag
	n := 1 + binary.PutUvarint(head[1:], uint64(len(s.scratch)))
	if err := s.out.write(head[:n]); err != nil {
		return err
	}
	return s.out.write(s.scratch)
}

// fill empties the scratch memory, and makes it fit for n bytes.
func (s *splitter) fill(n int) error {
	if n > cap(s.scratch) {
		if err := s.ask(int64(2 * n)); err != nil {
			return err
		}
		s.scratch = make([]byte, 0, 2*n)
	}
	s.scratch = s.scratch[:0]
	return nil
}

// each yields the fields of a message that was read before, with their bytes.
func each(b []byte, yield func(f protoscan.Field, raw []byte)) {
	for i := 0; i < len(b); {
		f, ok := protoscan.Read(b, i)
		if !ok {
			return
		}
		yield(f, b[i:f.Next])
		i = f.Next
	}
}

// pick yields what of a series belongs to a group: of what has a timestamp, that whose
// epoch gives it to the group.
func (s *splitter) pick(series []byte, group int, k placement.Key, fields *fields, yield func(protoscan.Field, []byte)) {
	each(series, func(f protoscan.Field, raw []byte) {
		if number := fields.timeField(f.Number); number > 0 {
			if ms, _ := timeOf(f, number); s.rule.Placement.Index(k, ms) != group {
				return
			}
		}
		yield(f, raw)
	})
}

func (s *splitter) copyField(_ protoscan.Field, raw []byte) { s.scratch = append(s.scratch, raw...) }
