package head

import (
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/promgrpc/exporter/internal/segment"
)

// labelStore keeps the labels of all series small: each label once, as it
// stands in a TimeSeries message, and a series as the numbers of its labels.
type labelStore struct {
	numbers map[string]uint32
	wires   []string
	chunks  [][]byte
	scratch []byte
	// The series that was added last, as it was given, and its numbers. Series
	// that come together differ in one or two labels.
	before  segment.Labels
	current []uint32
}

// labelsAt is where the labels of a series lie: chunk number, then offset.
type labelsAt uint64

// chunkSize of label numbers. A series that needs more gets a chunk of its own.
const chunkSize = 1 << 20

func newLabelStore() labelStore { return labelStore{numbers: map[string]uint32{}} }

// frozen returns what can be read without the lock while labels are added.
func (s *labelStore) frozen() labelStore {
	return labelStore{wires: s.wires, chunks: slices.Clone(s.chunks)}
}

// add stores labels as a count, then their numbers, which are also returned
// until the next call.
func (s *labelStore) add(ls segment.Labels) (labelsAt, []uint32) {
	most := binary.MaxVarintLen32 * (1 + len(ls))
	last := len(s.chunks) - 1
	if last < 0 || cap(s.chunks[last])-len(s.chunks[last]) < most {
		s.chunks = append(s.chunks, make([]byte, 0, max(chunkSize, most)))
		last++
	}
	chunk := s.chunks[last]
	at := labelsAt(last)<<32 | labelsAt(len(chunk))
	chunk = binary.AppendUvarint(chunk, uint64(len(ls)))
	for i, l := range ls {
		if i == len(s.current) {
			s.current = append(s.current, 0)
		}
		if i >= len(s.before) || l != s.before[i] {
			s.current[i] = s.number(l)
		}
		chunk = binary.AppendUvarint(chunk, uint64(s.current[i]))
	}
	s.before = append(s.before[:0], ls...)
	s.chunks[last] = chunk
	return at, s.current[:len(ls)]
}

// forget lets go of the strings of the series that was added last.
func (s *labelStore) forget() {
	clear(s.before)
	s.before = s.before[:0]
}

func (s *labelStore) number(l segment.Label) uint32 {
	s.scratch = appendLabel(s.scratch[:0], l)
	n, ok := s.numbers[string(s.scratch)]
	if !ok {
		n = uint32(len(s.wires))
		wire := string(s.scratch)
		s.wires = append(s.wires, wire)
		s.numbers[wire] = n
	}
	return n
}

func appendLabel(dst []byte, l segment.Label) []byte {
	size := protowire.SizeTag(1) + protowire.SizeBytes(len(l.Name)) + protowire.SizeTag(2) + protowire.SizeBytes(len(l.Value))
	dst = protowire.AppendTag(dst, 1, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	dst = protowire.AppendTag(dst, 1, protowire.BytesType)
	dst = protowire.AppendString(dst, l.Name)
	dst = protowire.AppendTag(dst, 2, protowire.BytesType)
	return protowire.AppendString(dst, l.Value)
}

// parseLabel takes apart what appendLabel made.
func parseLabel(wire string) segment.Label {
	label, _ := cutField(wire)
	name, rest := cutField(label)
	value, _ := cutField(rest)
	return segment.Label{Name: name, Value: value}
}

// cutField cuts the content of a field with a tag of one byte off.
func cutField(s string) (content, rest string) {
	size, i := 0, 1
	for shift := 0; ; shift += 7 {
		b := s[i]
		i++
		size |= int(b&0x7f) << shift
		if b < 0x80 {
			return s[i : i+size], s[i+size:]
		}
	}
}

func (s *labelStore) appendLabels(dst segment.Labels, at labelsAt) segment.Labels {
	b := s.chunks[at>>32][uint32(at):]
	count, n := binary.Uvarint(b)
	b = b[n:]
	for range count {
		number, n := binary.Uvarint(b)
		b = b[n:]
		dst = append(dst, parseLabel(s.wires[number]))
	}
	return dst
}

// appendWire appends the labels as fields 1 of a TimeSeries message.
func (s *labelStore) appendWire(dst []byte, at labelsAt) []byte {
	b := s.chunks[at>>32][uint32(at):]
	count, n := binary.Uvarint(b)
	b = b[n:]
	for range count {
		number, n := binary.Uvarint(b)
		b = b[n:]
		dst = append(dst, s.wires[number]...)
	}
	return dst
}
