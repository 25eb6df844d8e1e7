package segment

import (
	"encoding/binary"
	"fmt"
)

// Series is a series with its labels.
type Series struct {
	Ref    uint64
	Labels Labels
}

// SeriesTable holds the new series of a block or keyframe chunk. Series that come
// together have most labels in common, so each label is there once, and a series is a
// row of label indexes.
//
//	Labels   0 __name__="up"   1 job="a"   2 job="b"   3 pod="x"
//	Refs     17         18
//	Indexes  0 1 3      0 2 3
//	Ends          3          6
type SeriesTable struct {
	// Labels of the series. One may be there twice.
	Labels []Label
	// Refs of the series, ascending. A log gives each once, from 1.
	Refs []uint64
	// Indexes in Labels, the rows of all series one after another, by label name within
	// each.
	Indexes []uint32
	// Ends in Indexes of the rows.
	Ends []uint32
}

// TableOf returns a table of series whose labels are spelt out.
func TableOf(series ...Series) SeriesTable {
	var t SeriesTable
	indexes := make(map[Label]uint32)
	for _, s := range series {
		row := make([]uint32, len(s.Labels))
		for i, l := range s.Labels {
			index, ok := indexes[l]
			if !ok {
				index = uint32(len(t.Labels))
				indexes[l] = index
				t.Labels = append(t.Labels, l)
			}
			row[i] = index
		}
		t.Add(s.Ref, row...)
	}
	return t
}

// Len is the number of series.
func (t *SeriesTable) Len() int { return len(t.Refs) }

// Reset empties the table and keeps its memory.
func (t *SeriesTable) Reset() {
	clear(t.Labels) // so that their strings can be freed
	t.Labels, t.Refs, t.Indexes, t.Ends = t.Labels[:0], t.Refs[:0], t.Indexes[:0], t.Ends[:0]
}

// Add adds a series by the indexes of its labels.
func (t *SeriesTable) Add(ref uint64, row ...uint32) {
	t.Refs = append(t.Refs, ref)
	t.Indexes = append(t.Indexes, row...)
	t.Ends = append(t.Ends, uint32(len(t.Indexes)))
}

// Row returns the label indexes of the i-th series. It is valid until the table
// changes.
func (t *SeriesTable) Row(i int) []uint32 {
	from := uint32(0)
	if i > 0 {
		from = t.Ends[i-1]
	}
	return t.Indexes[from:t.Ends[i]]
}

// AppendLabels appends the labels of the i-th series to buf.
func (t *SeriesTable) AppendLabels(buf Labels, i int) Labels {
	for _, index := range t.Row(i) {
		buf = append(buf, t.Labels[index])
	}
	return buf
}

// Part returns a table of the series from one up to, not including, another, with
// only their labels.
func (t *SeriesTable) Part(from, to int) SeriesTable {
	part := make([]Series, 0, to-from)
	for i := from; i < to; i++ {
		part = append(part, Series{t.Refs[i], t.AppendLabels(nil, i)})
	}
	return TableOf(part...)
}

// New series are stored as follows. The labels section holds the number of
// labels, and the name and the value of each. The series section holds the
// length of all rows together, then for each series:
//
//	uvarint  reference − the lowest that it may have
//	uvarint  length of its row
//	uvarint  … for each label: 0 if the row before has the same label there, else
//	         1 + its index in the labels section

// appendLabels fills the labels section.
func appendLabels(b []byte, labels []Label) []byte {
	b = binary.AppendUvarint(b, uint64(len(labels)))
	for i := range labels {
		b = appendString(b, labels[i].Name)
		b = appendString(b, labels[i].Value)
	}
	return b
}

// appendSeries fills the series section, whose first reference is at least next.
func appendSeries(b []byte, t *SeriesTable, next uint64) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(len(t.Indexes)))
	var before []uint32
	for i, ref := range t.Refs {
		row := t.Row(i)
		b = binary.AppendUvarint(b, ref-next)
		b = binary.AppendUvarint(b, uint64(len(row)))
		for j, index := range row {
			switch {
			case j < len(before) && index == before[j]:
				b = append(b, 0)
			case int(index) >= len(t.Labels):
				return b, fmt.Errorf("new series %d: %w: label %d of %d", ref, ErrCorrupt, index, len(t.Labels))
			default:
				b = binary.AppendUvarint(b, uint64(index)+1)
			}
		}
		before, next = row, ref+1
	}
	return b, nil
}

// readLabels reads the labels section. The strings share memory.
func readLabels(section []byte, buf []Label) ([]Label, error) {
	all := string(section)
	r := sectionReader{b: section}
	n := r.uvarint()
	if n > uint64(len(r.b))/2 || n > MaxLabels {
		return nil, fmt.Errorf("labels: %w: count", ErrCorrupt)
	}
	text := func() string {
		b := r.bytes()
		end := len(all) - len(r.b)
		return all[end-len(b) : end]
	}
	buf = resize(buf, int(n))
	for i := range buf {
		buf[i] = Label{Name: text(), Value: text()}
	}
	return buf, r.end("labels")
}

// readSeries reads a number of series, of which the first has a reference of at
// least next, into a table that has its labels already.
func readSeries(section []byte, series int, next uint64, t *SeriesTable) error {
	r := sectionReader{b: section}
	total := r.uvarint()
	if total > uint64(len(r.b)) || total > MaxLabels {
		return fmt.Errorf("series: %w: number of labels", ErrCorrupt)
	}
	t.Refs, t.Ends, t.Indexes = resize(t.Refs, series), resize(t.Ends, series), resize(t.Indexes, int(total))
	var before []uint32
	end := uint64(0)
	for i := range t.Refs {
		gap, n := r.uvarint(), r.uvarint()
		ref := next + gap
		if r.bad || ref < next || ref > maxSequence || n > total-end {
			return fmt.Errorf("series: %w", ErrCorrupt)
		}
		row := t.Indexes[end : end+n]
		same := row[:min(len(row), len(before))]
		copy(same, before)
		for j := range row {
			if len(r.b) > 0 && r.b[0] == 0 && j < len(same) { // most labels
				r.b = r.b[1:]
				continue
			}
			v := r.uvarint()
			if v == 0 || v > uint64(len(t.Labels)) {
				return fmt.Errorf("series: %w: label", ErrCorrupt)
			}
			row[j] = uint32(v - 1)
		}
		end += n
		t.Refs[i], t.Ends[i] = ref, uint32(end)
		before, next = row, ref+1
	}
	if end != total {
		return fmt.Errorf("series: %w: number of labels", ErrCorrupt)
	}
	return r.end("series")
}
