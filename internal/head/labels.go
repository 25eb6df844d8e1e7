package head

import (
	"encoding/binary"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/promgrpc/exporter/internal/segment"
)

// labelStore keeps the labels of all series small: each string once, and a
// series as the numbers of its strings.
type labelStore struct {
	numbers map[string]uint32
	strings []string
	chunks  [][]byte
}

// labelsAt is where the labels of a series lie: chunk number, then offset.
type labelsAt uint64

// chunkSize of label bytes. A series that needs more gets a chunk of its own.
const chunkSize = 1 << 20

func newLabelStore() labelStore { return labelStore{numbers: map[string]uint32{}} }

// add stores labels as a count, then the numbers of name and value by turns.
func (s *labelStore) add(ls segment.Labels) labelsAt {
	most := binary.MaxVarintLen32 * (1 + 2*len(ls))
	last := len(s.chunks) - 1
	if last < 0 || cap(s.chunks[last])-len(s.chunks[last]) < most {
		s.chunks = append(s.chunks, make([]byte, 0, max(chunkSize, most)))
		last++
	}
	chunk := s.chunks[last]
	at := labelsAt(last)<<32 | labelsAt(len(chunk))
	chunk = binary.AppendUvarint(chunk, uint64(len(ls)))
	for _, l := range ls {
		chunk = binary.AppendUvarint(chunk, uint64(s.number(l.Name)))
		chunk = binary.AppendUvarint(chunk, uint64(s.number(l.Value)))
	}
	s.chunks[last] = chunk
	return at
}

func (s *labelStore) number(text string) uint32 {
	n, ok := s.numbers[text]
	if !ok {
		n = uint32(len(s.strings))
		text = strings.Clone(text)
		s.strings = append(s.strings, text)
		s.numbers[text] = n
	}
	return n
}

// each calls yield for each label at a place, by name.
func (s *labelStore) each(at labelsAt, yield func(name, value string)) {
	b := s.chunks[at>>32][uint32(at):]
	count, n := binary.Uvarint(b)
	b = b[n:]
	for range count {
		name, n := binary.Uvarint(b)
		value, m := binary.Uvarint(b[n:])
		b = b[n+m:]
		yield(s.strings[name], s.strings[value])
	}
}

func (s *labelStore) appendLabels(dst segment.Labels, at labelsAt) segment.Labels {
	s.each(at, func(name, value string) {
		dst = append(dst, segment.Label{Name: name, Value: value})
	})
	return dst
}

// appendWire appends the labels as fields 1 of a TimeSeries message.
func (s *labelStore) appendWire(dst []byte, at labelsAt) []byte {
	s.each(at, func(name, value string) {
		size := protowire.SizeTag(1) + protowire.SizeBytes(len(name)) + protowire.SizeTag(2) + protowire.SizeBytes(len(value))
		dst = protowire.AppendTag(dst, 1, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(size))
		dst = protowire.AppendTag(dst, 1, protowire.BytesType)
		dst = protowire.AppendString(dst, name)
		dst = protowire.AppendTag(dst, 2, protowire.BytesType)
		dst = protowire.AppendString(dst, value)
	})
	return dst
}
