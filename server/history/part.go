package history

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"

	"github.com/promgrpc/exporter/server/postings"
)

// part is a part that is read. Any number of goroutines may read one.
type part struct {
	trailer
	r    io.ReaderAt
	size int64

	names    []labelName // sorted
	labels   int
	sections [3]blocks
}

// The sections of a part.
const (
	ofSeries = iota
	ofLabels
	ofPostings
)

// labelName is a label name, with the numbers of its labels from one up to, not
// including, another.
type labelName struct {
	text     string
	from, to uint32
}

// blocks has the offsets of the blocks of a section, and of its end.
type blocks []int64

// openPart reads trailer and directory.
func openPart(r io.ReaderAt, size int64) (*part, error) {
	if size < headSize+trailerSize {
		return nil, fmt.Errorf("%w: %d bytes", errDamaged, size)
	}
	b := make([]byte, trailerSize)
	if _, err := r.ReadAt(b, size-trailerSize); err != nil {
		return nil, err
	}
	t, err := parseTrailer(b)
	if err != nil {
		return nil, err
	}
	if t.directory < headSize || t.directory > uint64(size) || t.directory+t.length+trailerSize != uint64(size) {
		return nil, fmt.Errorf("%w: where the directory is", errDamaged)
	}
	b = make([]byte, t.length)
	if _, err := r.ReadAt(b, int64(t.directory)); err != nil {
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != t.directorySum {
		return nil, fmt.Errorf("%w: checksum of the directory", errDamaged)
	}
	p := &part{trailer: t, r: r, size: size}
	if !p.readDirectory(&fields{b: b}) {
		return nil, fmt.Errorf("%w: directory", errDamaged)
	}
	return p, nil
}

func (p *part) readDirectory(r *fields) bool {
	count := r.uvarint()
	if count > uint64(len(r.b)) {
		return false
	}
	p.names = make([]labelName, count)
	number := uint64(0)
	for i := range p.names {
		n := &p.names[i]
		n.text, n.from = string(r.bytes()), uint32(number)
		number += r.uvarint()
		n.to = uint32(number)
		if r.bad || number > math.MaxUint32 || i > 0 && p.names[i-1].text >= n.text {
			return false
		}
	}
	p.labels = int(number)
	at := r.uvarint()
	if at < headSize || at > p.directory {
		return false
	}
	for i, entries := range [...]int{ofSeries: int(p.count), ofLabels: p.labels, ofPostings: p.labels} {
		n := (entries + perBlock - 1) / perBlock
		if n > len(r.b) {
			return false
		}
		offsets := make(blocks, n+1)
		offsets[0] = int64(at)
		for j := range n {
			length := r.uvarint()
			if length > mostBlock || length > p.directory-at {
				return false
			}
			at += length
			offsets[j+1] = int64(at)
		}
		p.sections[i] = offsets
	}
	return r.ended() && at == p.directory
}

// bytes is about what the part takes in memory, besides what is in the file.
func (p *part) bytes() int64 {
	n := int64(64 * len(p.names))
	for _, s := range p.sections {
		n += int64(8 * len(s))
	}
	return n
}

// blockSize returns the size of a block.
func (p *part) blockSize(section int, i uint32) int64 {
	s := p.sections[section]
	return s[i+1] - s[i]
}

// block reads a block.
func (p *part) block(section int, i uint32) (*fields, error) {
	b := make([]byte, p.blockSize(section, i))
	if _, err := p.r.ReadAt(b, p.sections[section][i]); err != nil {
		return nil, p.unread(err)
	}
	content, ok := cutSum(b)
	if !ok {
		return nil, fmt.Errorf("%w: checksum of block %d of section %d", errDamaged, i, section)
	}
	return &fields{b: content}, nil
}

// unread makes the end of a file, which is shorter than it was, a damage.
func (p *part) unread(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it was cut off", errDamaged)
	}
	return err
}

// nameOf returns the name that a label number has.
func (p *part) nameOf(number uint32) *labelName {
	i, _ := slices.BinarySearchFunc(p.names, number, func(n labelName, number uint32) int {
		if n.to <= number {
			return -1
		}
		return 1
	})
	return &p.names[i]
}

// named returns the label name with a text, nil if there is none.
func (p *part) named(text string) *labelName {
	i, ok := slices.BinarySearchFunc(p.names, text, func(n labelName, text string) int { return cmp.Compare(n.text, text) })
	if !ok {
		return nil
	}
	return &p.names[i]
}

// series is one of a part.
type series struct {
	row      []uint32
	min, max int64
	// offset of its extent, and how long that is.
	offset int64
	length int
}

// readSeries reads block i of series. What it returns is valid until buf is used again.
func (p *part) readSeries(i uint32, buf *seriesBlock) error {
	r, err := p.block(ofSeries, i)
	if err == nil && !p.parseSeries(r, i, buf) {
		err = fmt.Errorf("%w: block %d of series", errDamaged, i)
	}
	return err
}

func (p *part) parseSeries(r *fields, i uint32, buf *seriesBlock) bool {
	n := min(perBlock, int(p.count)-int(i)*perBlock)
	buf.entries, buf.numbers = buf.entries[:0], buf.numbers[:0]
	offset := r.uvarint()
	first := uint64(p.sections[ofSeries][0])
	var before []uint32
	for range n {
		row, ok := readRow(r, before, p.labels, buf)
		e := series{row: row}
		length := r.uvarint()
		e.min = r.varint()
		e.max = int64(uint64(e.min) + r.uvarint())
		if !ok || r.bad || offset < headSize || offset > first || length > first-offset || e.max < e.min {
			return false
		}
		e.offset, e.length = int64(offset), int(length)
		offset += length
		buf.entries = append(buf.entries, e)
		before = row
	}
	return r.ended()
}

// seriesBlock is a block of series that was read.
type seriesBlock struct {
	entries []series
	numbers []uint32 // of the rows
}

// readRow reads the label numbers of a series, which ascend.
func readRow(r *fields, before []uint32, labels int, buf *seriesBlock) ([]uint32, bool) {
	count := r.uvarint()
	if count > uint64(len(r.b)) {
		return nil, false
	}
	from := len(buf.numbers)
	for j := range int(count) {
		v := r.uvarint()
		switch {
		case v == 0 && j < len(before):
			buf.numbers = append(buf.numbers, before[j])
		case v == 0 || v > uint64(labels):
			return nil, false
		default:
			buf.numbers = append(buf.numbers, uint32(v-1))
		}
		if last := len(buf.numbers) - 1; j > 0 && buf.numbers[last-1] >= buf.numbers[last] {
			return nil, false
		}
	}
	return buf.numbers[from:len(buf.numbers):len(buf.numbers)], !r.bad
}

// readValues reads block i of labels.
func (p *part) readValues(i uint32) ([]string, error) {
	r, err := p.block(ofLabels, i)
	if err != nil {
		return nil, err
	}
	values, ok := parseValues(r, min(perBlock, p.labels-int(i)*perBlock))
	if !ok {
		return nil, fmt.Errorf("%w: block %d of labels", errDamaged, i)
	}
	return values, nil
}

func parseValues(r *fields, n int) ([]string, bool) {
	values, all := make([]string, n), string(r.b)
	for j := range values {
		length := len(r.bytes())
		end := len(all) - len(r.b)
		values[j] = all[end-length : end]
	}
	return values, r.ended()
}

// readRuns reads the runs of a list, of series below a number.
func readRuns(b []byte, series uint64) ([]postings.Run, bool) {
	r := fields{b: b}
	runs := make([]postings.Run, 0, len(b)/2)
	end := uint64(0)
	for len(r.b) > 0 {
		gap, length := r.uvarint(), r.uvarint()
		if r.bad || gap >= series-end || length >= series-end-gap {
			return nil, false
		}
		from := end + gap
		end = from + length + 1
		runs = append(runs, postings.Run{From: uint32(from), To: uint32(end)})
	}
	return runs, true
}
