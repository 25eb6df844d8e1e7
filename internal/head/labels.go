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
	longest int // of the wires
	chunks  [][]byte
	scratch []byte
	// given holds, for the labels of the table or store that is being taken in,
	// by their places there, what number they have here; 0 is not known yet, and
	// otherwise it is one more. So a label is looked up once, and not for each
	// series that has it.
	given []uint32
	row   []uint32 // of numbersOf

	generation int   // counts how often labels were stored anew
	bytes      int64 // about what wires and chunks take
}

// labelsAt is where the labels of a series lie: chunk number, then offset.
type labelsAt uint64

// chunkSize of label numbers. A series that needs more gets a chunk of its own.
const chunkSize = 1 << 20

// stringSize is what a string takes besides its bytes, and numberSize what finding
// its number takes.
const stringSize, numberSize = 16, 40

func newLabelStore(generation int) labelStore {
	return labelStore{numbers: map[string]uint32{}, generation: generation}
}

// frozen returns what can be read without the lock while labels are added.
func (s *labelStore) frozen() labelStore {
	return labelStore{wires: s.wires, chunks: slices.Clone(s.chunks), generation: s.generation, bytes: s.bytes}
}

// begin says that series come whose labels have places below n.
func (s *labelStore) begin(n int) {
	if n > cap(s.given) || cap(s.given) > keepAdded {
		s.given = make([]uint32, n)
	}
	s.given = s.given[:n]
	clear(s.given)
}

// numbersOf returns the numbers of the labels of a series in a table, until the
// next call.
func (s *labelStore) numbersOf(t *segment.SeriesTable, i int) []uint32 {
	s.row = s.row[:0]
	for _, place := range t.Row(i) {
		n := s.given[place]
		if n == 0 {
			s.scratch = appendLabel(s.scratch[:0], t.Labels[place])
			n = s.number(s.scratch) + 1
			s.given[place] = n
		}
		s.row = append(s.row, n-1)
	}
	return s.row
}

// renumber returns the number of a label that has another one in an old store.
func (s *labelStore) renumber(old *labelStore, number uint32) uint32 {
	n := s.given[number]
	if n == 0 {
		n = s.number([]byte(old.wires[number])) + 1
		s.given[number] = n
	}
	return n - 1
}

// number returns the number of a label in wire form.
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

// add stores the numbers of the labels of a series, behind their count.
func (s *labelStore) add(numbers []uint32) labelsAt {
	most := binary.MaxVarintLen32 * (1 + len(numbers))
	last := len(s.chunks) - 1
	if last < 0 || cap(s.chunks[last])-len(s.chunks[last]) < most {
		s.chunks = append(s.chunks, make([]byte, 0, max(chunkSize, most)))
		s.bytes += int64(max(chunkSize, most))
		last++
	}
	chunk := s.chunks[last]
	at := labelsAt(last)<<32 | labelsAt(len(chunk))
	chunk = binary.AppendUvarint(chunk, uint64(len(numbers)))
	for _, n := range numbers {
		chunk = binary.AppendUvarint(chunk, uint64(n))
	}
	s.chunks[last] = chunk
	return at
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

// rowAt returns the numbers of the labels of a series.
func (s *labelStore) rowAt(at labelsAt) labelRow {
	b := s.chunks[at>>32][uint32(at):]
	count, n := binary.Uvarint(b)
	return labelRow{rest: b[n:], left: count}
}

// labelRow reads the numbers of the labels of a series, one after another.
type labelRow struct {
	rest []byte
	left uint64
}

// next returns the next number, while there are any left. It is written so that
// it can be inlined: a snapshot reads ten of them for each series.
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
		dst = append(dst, parseLabel(s.wires[row.next()]))
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

// placeTable puts series of a store into a table.
type placeTable struct {
	store  *labelStore
	table  *segment.SeriesTable
	places []uint32 // by label number, of those in the table; 0 is none, otherwise it is one more
	used   []uint32 // label numbers by place
	row    []uint32
	names  map[string]struct{} // of the metrics of all series that were added
}

func newPlaceTable(s *labelStore, t *segment.SeriesTable) *placeTable {
	return &placeTable{store: s, table: t, places: make([]uint32, len(s.wires)), names: map[string]struct{}{}}
}

const metricName = "__name__"

// named reports whether a series of that metric was added.
func (p *placeTable) named(metric string) bool {
	_, ok := p.names[metric]
	return ok
}

// add adds a series, and returns how many bytes the labels take that the table
// did not have yet.
func (p *placeTable) add(ref uint64, at labelsAt) (bytes int) {
	p.row = p.store.appendNumbers(p.row[:0], at)
	for i, number := range p.row {
		place := p.places[number]
		if place == 0 {
			wire := p.store.wires[number]
			label := parseLabel(wire)
			if label.Name == metricName {
				p.names[label.Value] = struct{}{}
			}
			bytes += len(wire)
			p.table.Labels = append(p.table.Labels, label)
			p.used = append(p.used, number)
			place = uint32(len(p.used))
			p.places[number] = place
		}
		p.row[i] = place - 1
	}
	p.table.Add(ref, p.row...)
	return bytes
}

func (p *placeTable) reset() {
	for _, number := range p.used {
		p.places[number] = 0
	}
	p.used = p.used[:0]
	p.table.Reset()
}
