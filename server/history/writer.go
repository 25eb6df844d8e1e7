package history

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/promgrpc/exporter/internal/segment"
)

// partWriter writes a part, series by series in the order of their labels. What it keeps
// until the end is some 30 bytes a series, and its labels.
type partWriter struct {
	trailer
	w      *bufio.Writer
	offset uint64
	labels []segment.Label // sorted
	lists  []list          // by label number
	series section
	row    []uint32 // of the series before
}

// list is the postings of a label.
type list struct {
	runs    []byte
	started bool
	from    uint32 // of the run that is open
	to, end uint32 // of it; and the end of the run before
}

// section is blocks of entries.
type section struct {
	b       []byte
	lengths []uint64
	start   int // of the block that is open
	entries int
}

// add ends a block if it is full, before one more entry, and says whether one starts.
func (s *section) add() (starts bool) {
	if s.entries%perBlock == 0 {
		s.close()
		starts = true
	}
	s.entries++
	return starts
}

func (s *section) close() {
	if len(s.b) > s.start {
		s.b = appendSum(s.b, s.start)
		s.lengths = append(s.lengths, uint64(len(s.b)-s.start))
		s.start = len(s.b)
	}
}

// newPartWriter starts a part of blocks, whose series have some of these labels, which
// are sorted.
func newPartWriter(w io.Writer, s span, sum uint32, labels []segment.Label) (*partWriter, error) {
	p := &partWriter{
		trailer: trailer{span: s, sum: sum, min: math.MaxInt64, max: math.MinInt64},
		w:       bufio.NewWriterSize(w, 256<<10), labels: labels, lists: make([]list, len(labels)),
	}
	var head [headSize]byte
	copy(head[:], partMagic)
	binary.LittleEndian.PutUint16(head[8:], partVersion)
	return p, p.write(head[:])
}

func (p *partWriter) write(b []byte) error {
	p.offset += uint64(len(b))
	_, err := p.w.Write(b)
	return err
}

// add adds a series by the numbers of its labels, with the range of its timestamps.
func (p *partWriter) add(row []uint32, low, high int64, extent []byte) error {
	id := uint32(p.count)
	p.count++
	p.min, p.max = min(p.min, low), max(p.max, high)
	s := &p.series
	if s.add() {
		s.b = binary.AppendUvarint(s.b, p.offset)
		p.row = p.row[:0]
	}
	s.b = binary.AppendUvarint(s.b, uint64(len(row)))
	for i, n := range row {
		if i < len(p.row) && p.row[i] == n {
			s.b = append(s.b, 0)
		} else {
			s.b = binary.AppendUvarint(s.b, uint64(n)+1)
		}
		p.lists[n].add(id)
	}
	p.row = append(p.row[:0], row...)
	s.b = binary.AppendUvarint(s.b, uint64(len(extent)))
	s.b = binary.AppendVarint(s.b, low)
	s.b = binary.AppendUvarint(s.b, uint64(high)-uint64(low))
	return p.write(extent)
}

func (l *list) add(id uint32) {
	if l.started && l.to == id {
		l.to++
		return
	}
	l.close()
	l.started, l.from, l.to = true, id, id+1
}

func (l *list) close() {
	if l.started {
		l.runs = binary.AppendUvarint(l.runs, uint64(l.from-l.end))
		l.runs = binary.AppendUvarint(l.runs, uint64(l.to-l.from-1))
		l.end = l.to
	}
}

// finish writes what comes after the extents.
func (p *partWriter) finish() error {
	var values, postings section
	directory := p.names()
	for i := range p.labels {
		values.add()
		values.b = binary.AppendUvarint(values.b, uint64(len(p.labels[i].Value)))
		values.b = append(values.b, p.labels[i].Value...)
	}
	for i := range p.lists {
		l := &p.lists[i]
		l.close()
		postings.add()
		postings.b = binary.AppendUvarint(postings.b, uint64(len(l.runs)))
		postings.b = append(postings.b, l.runs...)
		*l = list{}
	}
	directory = binary.AppendUvarint(directory, p.offset)
	for _, s := range []*section{&p.series, &values, &postings} {
		s.close()
		for _, n := range s.lengths {
			if n > mostBlock {
				return fmt.Errorf("a block has %d bytes", n)
			}
			directory = binary.AppendUvarint(directory, n)
		}
		if err := p.write(s.b); err != nil {
			return err
		}
		*s = section{}
	}
	if len(directory) > mostDirectory {
		return fmt.Errorf("the directory has %d bytes", len(directory))
	}
	p.directory, p.length, p.directorySum = p.offset, uint64(len(directory)), crc32.Checksum(directory, castagnoli)
	if err := p.write(p.append(directory)); err != nil {
		return err
	}
	return p.w.Flush()
}

// names returns the start of the directory: how many label names there are, and of each
// how many labels have it.
func (p *partWriter) names() []byte {
	var names []byte
	count := 0
	for from := 0; from < len(p.labels); count++ {
		name, to := p.labels[from].Name, from
		for to < len(p.labels) && p.labels[to].Name == name {
			to++
		}
		names = binary.AppendUvarint(names, uint64(len(name)))
		names = append(names, name...)
		names = binary.AppendUvarint(names, uint64(to-from))
		from = to
	}
	return append(binary.AppendUvarint(nil, uint64(count)), names...)
}
