package split

import (
	"encoding/binary"

	"github.com/promgrpc/exporter/internal/protoscan"
)

// A part of 2.0 has the symbols that its series refer to, numbered in the order in which
// they do, and so as small as if its series had been sent alone. A reference that points
// nowhere keeps its number: the part has no more symbols than the body, so it points
// nowhere there.

// mostOfRefs is by which factor a series may grow, if the part's numbers are longer: each
// takes five bytes at most in place of one.
const mostOfRefs = 5

// translate appends a field of a series to the scratch memory, with the part's numbers.
func (s *splitter) translate(f protoscan.Field, raw []byte, group int) error {
	switch {
	case f.Number == 1 && f.Wire == protoscan.TypeBytes:
		return s.packed(f.Bytes, group)
	case f.Number == 1 && f.Wire == protoscan.TypeVarint:
		return s.single(0x08, f.Value, group)
	case f.Number == fieldsV2.exemplars && f.Wire == protoscan.TypeBytes:
		return s.nested(f.Bytes, group, 0x22, s.inExemplar)
	case f.Number == fieldMetadata && f.Wire == protoscan.TypeBytes:
		return s.nested(f.Bytes, group, 0x2a, s.inMetadata)
	}
	s.copyField(f, raw)
	return nil
}

// fieldMetadata is that of a series.
const fieldMetadata = 5

// nested appends a message within a series: its fields by translate, and before them its
// length, which is known after them.
func (s *splitter) nested(b []byte, group int, tag byte, translate func(protoscan.Field, []byte, int) error) error {
	s.scratch = append(s.scratch, tag)
	from := len(s.scratch)
	for i := 0; i < len(b); {
		f, ok := protoscan.Read(b, i)
		if !ok { // For the forwarder to refuse.
			s.scratch = append(s.scratch, b[i:]...)
			break
		}
		if err := translate(f, b[i:f.Next], group); err != nil {
			return err
		}
		i = f.Next
	}
	s.prefix(from)
	return nil
}

// prefix puts the length of what the scratch memory has from there on before that.
func (s *splitter) prefix(from int) {
	var length [binary.MaxVarintLen32]byte
	size := len(s.scratch) - from
	n := binary.PutUvarint(length[:], uint64(size))
	s.scratch = append(s.scratch, length[:n]...)
	copy(s.scratch[from+n:], s.scratch[from:from+size])
	copy(s.scratch[from:], length[:n])
}

// inExemplar is of a field of
//
//	message Exemplar {
//	  repeated uint32 labels_refs = 1;
//	  double value = 2;
//	  int64 timestamp = 3;
//	}
func (s *splitter) inExemplar(f protoscan.Field, raw []byte, group int) error {
	switch {
	case f.Number == 1 && f.Wire == protoscan.TypeBytes:
		return s.packed(f.Bytes, group)
	case f.Number == 1 && f.Wire == protoscan.TypeVarint:
		return s.single(0x08, f.Value, group)
	}
	s.copyField(f, raw)
	return nil
}

// inMetadata is of a field of
//
//	message Metadata {
//	  MetricType type = 1;
//	  uint32 help_ref = 3;
//	  uint32 unit_ref = 4;
//	}
func (s *splitter) inMetadata(f protoscan.Field, raw []byte, group int) error {
	if (f.Number == 3 || f.Number == 4) && f.Wire == protoscan.TypeVarint {
		return s.single(byte(f.Number<<3), f.Value, group)
	}
	s.copyField(f, raw)
	return nil
}

// single appends a reference with its tag.
func (s *splitter) single(tag byte, ref uint64, group int) error {
	number, err := s.number(uint32(ref), group)
	s.scratch = binary.AppendUvarint(append(s.scratch, tag), uint64(number))
	return err
}

// packed appends packed references, as field 1. Where they are cut off, so is the end.
func (s *splitter) packed(b []byte, group int) error {
	s.scratch = append(s.scratch, 0x0a)
	from := len(s.scratch)
	for i := 0; i < len(b); {
		ref := uint64(b[i])
		if i++; ref >= 0x80 {
			start := i - 1
			if ref, i = protoscan.Varint(b, start); i == 0 {
				s.scratch = append(s.scratch, b[start:]...)
				break
			}
		}
		var number uint32
		if at := int(uint32(ref)); at < len(s.symbols) && s.symbols[at].part == uint16(group+1) {
			number = s.symbols[at].number // As a rule.
		} else {
			var err error
			if number, err = s.number(uint32(ref), group); err != nil {
				return err
			}
		}
		if number < 0x80 {
			s.scratch = append(s.scratch, byte(number))
			continue
		}
		s.scratch = binary.AppendUvarint(s.scratch, uint64(number))
	}
	s.prefix(from)
	return nil
}

// number returns the part's number of a symbol of the body.
func (s *splitter) number(ref uint32, group int) (uint32, error) {
	if uint64(ref) >= uint64(len(s.symbols)) {
		return ref, nil
	}
	one := &s.symbols[ref]
	if one.part != uint16(group+1) {
		if err := s.own(ref, group); err != nil {
			return 0, err
		}
	}
	return one.number, nil
}

// own makes a symbol one of the part of a group.
func (s *splitter) own(ref uint32, group int) error {
	one := &s.symbols[ref]
	one.part, one.number = uint16(group+1), uint32(len(s.used))
	return push(s, &s.used, ref)
}
