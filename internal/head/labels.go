package head

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/promgrpc/exporter/internal/segment"
)

// labelStore keeps the labels of all series small. Each label is there once, in the
// wire form of a TimeSeries message, and has a number. A series is a row: the count of
// its labels and their numbers, as varints, one row after another in arenas.
//
//	wires    0 {__name__ up}   1 {job a}   2 {job b}   …
//	arena 0  2 0 1  2 0 2  3 7 1 9 …
//	                ^ labelsAt 3 of arena 0: the labels 0 and 2
//
// Labels and rows of dropped series stay, until [Head.compact] makes a new store of
// the others.
type labelStore struct {
	numbers map[string]uint32 // by wire
	wires   []string          // by number
	longest int               // of the wires
	arenas  [][]byte
	scratch []byte
	// known holds the numbers of the labels of the table or store at hand, by their
	// indexes there; unknown where nobody asked yet. So a label is looked up once, not
	// once for each series that has it.
	known []uint32
	row   []uint32 // of numbersOf

	generation int   // how many stores the head had before
	bytes      int64 // about what wires and arenas take
}

// unknown is no label number, nor an index of a label.
const unknown = math.MaxUint32

// fillUnknown returns n of them in buf, or in new memory.
func fillUnknown(buf []uint32, n int) []uint32 {
	if n > cap(buf) {
		buf = make([]uint32, n)
	}
	buf = buf[:n]
	for i := range buf {
		buf[i] = unknown
	}
	return buf
}

// labelsAt is where the row of a series is: number of the arena, then arenaBits of the
// offset in it.
type labelsAt uint64

// arenaSize in bytes: what the last arena has room for is little for each of 100,000 series.
// A row that is longer has an arena of its own.
const arenaBits, arenaSize = 17, 1 << arenaBits

// stringSize is what a string takes besides its bytes, numberSize what an entry in
// numbers takes.
const stringSize, numberSize = 16, 40

func newLabelStore(generation int) labelStore {
	return labelStore{numbers: map[string]uint32{}, generation: generation}
}

// frozen returns what can be read without the lock while labels are added.
func (s *labelStore) frozen() labelStore {
	return labelStore{wires: s.wires, arenas: slices.Clone(s.arenas), generation: s.generation, bytes: s.bytes}
}

// startTable forgets the table at hand for another with n labels.
func (s *labelStore) startTable(n int) {
	if cap(s.known) > keepTold {
		s.known = nil
	}
	s.known = fillUnknown(s.known, n)
}

// numbersOf returns the label numbers of the i-th series of the table at hand. They are
// valid until the next call.
func (s *labelStore) numbersOf(t *segment.SeriesTable, i int) []uint32 {
	s.row = s.row[:0]
	for _, index := range t.Row(i) {
		n := s.known[index]
		if n == unknown {
			s.scratch = segment.AppendLabel(s.scratch[:0], t.Labels[index].Name, t.Labels[index].Value)
			n = s.number(s.scratch)
			s.known[index] = n
		}
		s.row = append(s.row, n)
	}
	return s.row
}

// renumber returns the number of a label by that in an old store, which is at hand.
func (s *labelStore) renumber(old *labelStore, number uint32) uint32 {
	n := s.known[number]
	if n == unknown {
		n = s.number([]byte(old.wires[number]))
		s.known[number] = n
	}
	return n
}

// number returns the number of a label in wire form, the next one for a new label.
func (s *labelStore) number(label []byte) uint32 {
	n, ok := s.numbers[string(label)]
	if !ok {
		n = uint32(len(s.wires))
		wire := string(label)
		s.wires = append(s.wires, wire)
		s.longest = max(s.longest, len(wire))
		s.numbers[wire] = n
		s.bytes += int64(len(wire)) + stringSize
	}
	return n
}

// add stores the row of a series.
func (s *labelStore) add(numbers []uint32) labelsAt {
	most := binary.MaxVarintLen32 * (1 + len(numbers))
	last := len(s.arenas) - 1
	if last < 0 || len(s.arenas[last])+most > arenaSize {
		s.arenas = append(s.arenas, make([]byte, 0, max(arenaSize, most)))
		s.bytes += int64(max(arenaSize, most))
		last++
	}
	arena := s.arenas[last]
	at := labelsAt(last)<<arenaBits | labelsAt(len(arena))
	arena = binary.AppendUvarint(arena, uint64(len(numbers)))
	for _, n := range numbers {
		arena = binary.AppendUvarint(arena, uint64(n))
	}
	s.arenas[last] = arena
	return at
}

// ParseLabel is the reverse of [segment.AppendLabel], of what that made.
func ParseLabel(wire string) segment.Label {
	label, _ := cutField(wire)
	name, rest := cutField(label)
	value, _ := cutField(rest)
	return segment.Label{Name: name, Value: value}
}

// cutField returns the content of the first field, whose tag is one byte, and the rest.
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

// rowAt returns the row of a series.
func (s *labelStore) rowAt(at labelsAt) labelRow {
	b := s.arenas[at>>arenaBits][at%arenaSize:]
	count, n := binary.Uvarint(b)
	return labelRow{rest: b[n:], left: count}
}

// labelRow reads a row, one number after another.
type labelRow struct {
	rest []byte
	left uint64
}

// next returns the next number; there must be one left. It is written to be inlined: a
// snapshot reads ten numbers for each series.
func (r *labelRow) next() (number uint32) {
	for shift := 0; ; shift += 7 {
		b := r.rest[0]
		r.rest = r.rest[1:]
		number |= uint32(b&0x7f) << shift
		if b < 0x80 {
			r.left--
			return number
		}
	}
}

func (s *labelStore) appendNumbers(dst []uint32, at labelsAt) []uint32 {
	for row := s.rowAt(at); row.left > 0; {
		dst = append(dst, row.next())
	}
	return dst
}

func (s *labelStore) appendLabels(dst segment.Labels, at labelsAt) segment.Labels {
	for row := s.rowAt(at); row.left > 0; {
		dst = append(dst, ParseLabel(s.wires[row.next()]))
	}
	return dst
}

// appendWire appends the labels as fields 1 of a TimeSeries message.
func (s *labelStore) appendWire(dst []byte, at labelsAt) []byte {
	for row := s.rowAt(at); row.left > 0; {
		dst = append(dst, s.wires[row.next()]...)
	}
	return dst
}

// tableBuilder puts series of a store into a table.
type tableBuilder struct {
	store   *labelStore
	table   *segment.SeriesTable
	indexes []uint32 // in the table, by label number; unknown where it is not there
	numbers []uint32 // by index in the table
	row     []uint32
	names   map[string]struct{} // of the metrics of all series that were added
}

func newTableBuilder(s *labelStore, t *segment.SeriesTable) *tableBuilder {
	return &tableBuilder{store: s, table: t, indexes: fillUnknown(nil, len(s.wires)), names: map[string]struct{}{}}
}

const metricName = "__name__"

// named reports whether a series of that metric was added.
func (b *tableBuilder) named(metric string) bool {
	_, ok := b.names[metric]
	return ok
}

// add adds a series, and returns how many bytes of labels are new to the table.
func (b *tableBuilder) add(ref uint64, at labelsAt) (bytes int) {
	b.row = b.store.appendNumbers(b.row[:0], at)
	for i, number := range b.row {
		index := b.indexes[number]
		if index == unknown {
			wire := b.store.wires[number]
			label := ParseLabel(wire)
			if label.Name == metricName {
				b.names[label.Value] = struct{}{}
			}
			bytes += len(wire)
			index = uint32(len(b.numbers))
			b.indexes[number] = index
			b.table.Labels = append(b.table.Labels, label)
			b.numbers = append(b.numbers, number)
		}
		b.row[i] = index
	}
	b.table.Add(ref, b.row...)
	return bytes
}

// reset empties the table.
func (b *tableBuilder) reset() {
	for _, number := range b.numbers {
		b.indexes[number] = unknown
	}
	b.numbers = b.numbers[:0]
	b.table.Reset()
}
