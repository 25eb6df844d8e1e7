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

// SeriesTable holds series as they are seen for the first time. Each label is
// there once, and a series is the places of its labels: series that come
// together have most of them in common.
type SeriesTable struct {
	// Labels that the series have. That one is there twice does no harm.
	Labels []Label
	// Refs of the series: from 1, ascending for the life of the log, never given
	// twice.
	Refs []uint64
	// Places in Labels, for one series after another, by name within each.
	Places []uint32
	// Ends says where in Places each series ends.
	Ends []uint32
}

// TableOf returns a table of series whose labels are spelt out.
func TableOf(series ...Series) SeriesTable {
	var t SeriesTable
	places := make(map[Label]uint32)
	for _, s := range series {
		row := make([]uint32, len(s.Labels))
		for i, l := range s.Labels {
			place, ok := places[l]
			if !ok {
				place = uint32(len(t.Labels))
				places[l] = place
				t.Labels = append(t.Labels, l)
			}
			row[i] = place
		}
		t.Add(s.Ref, row...)
	}
	return t
}

// Len is the number of series.
func (t *SeriesTable) Len() int { return len(t.Refs) }

// Reset empties the table, and keeps its room.
func (t *SeriesTable) Reset() {
	clear(t.Labels) // they hold on to strings
	t.Labels, t.Refs, t.Places, t.Ends = t.Labels[:0], t.Refs[:0], t.Places[:0], t.Ends[:0]
}

// Add adds a series by the places of its labels.
func (t *SeriesTable) Add(ref uint64, places ...uint32) {
	t.Refs = append(t.Refs, ref)
	t.Places = append(t.Places, places...)
	t.Ends = append(t.Ends, uint32(len(t.Places)))
}

// At returns the places of the labels of a series. They are valid until the
// table changes.
func (t *SeriesTable) At(i int) []uint32 {
	from := uint32(0)
	if i > 0 {
		from = t.Ends[i-1]
	}
	return t.Places[from:t.Ends[i]]
}

// AppendLabels appends the labels of a series to buf.
func (t *SeriesTable) AppendLabels(buf Labels, i int) Labels {
	for _, place := range t.At(i) {
		buf = append(buf, t.Labels[place])
	}
	return buf
}

// Part returns a table of the series from one up to, not including, another,
// with no other labels than they have.
func (t *SeriesTable) Part(from, to int) SeriesTable {
	part := make([]Series, 0, to-from)
	for i := from; i < to; i++ {
		part = append(part, Series{t.Refs[i], t.AppendLabels(nil, i)})
	}
	return TableOf(part...)
}

// New series are stored as follows. The labels section holds the number of
// labels, and the name and the value of each. The series section holds the
// number of places of all series together, then for each series:
//
//	uvarint  reference, above the lowest that it may have
//	uvarint  number of labels
//	uvarint  … for each: 0 if it is that of the series before at the same place
//	         in the row; else 1 + its place in the labels section

// appendLabels fills the labels section.
func appendLabels(b []byte, labels []Label) []byte {
	b = binary.AppendUvarint(b, uint64(len(labels)))
	for i := range labels {
		b = appendString(b, labels[i].Name)
		b = appendString(b, labels[i].Value)
	}
	return b
}

// appendSeries fills the series section, whose first reference may be next.
func appendSeries(b []byte, t *SeriesTable, next uint64) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(len(t.Places)))
	var before []uint32
	for i, ref := range t.Refs {
		places := t.At(i)
		b = binary.AppendUvarint(b, ref-next)
		b = binary.AppendUvarint(b, uint64(len(places)))
		for j, place := range places {
			switch {
			case j < len(before) && place == before[j]:
				b = append(b, 0)
			case int(place) >= len(t.Labels):
				return b, fmt.Errorf("new series %d: %w: label %d of %d", ref, ErrCorrupt, place, len(t.Labels))
			default:
				b = binary.AppendUvarint(b, uint64(place)+1)
			}
		}
		before, next = places, ref+1
	}
	return b, nil
}

// readLabels reads the labels section. The strings share memory.
func readLabels(section []byte, buf []Label) ([]Label, error) {
	all := string(section)
	c := cursor{b: section}
	n := c.uvarint()
	if n > uint64(len(c.b))/2 || n > MaxLabels {
		return nil, fmt.Errorf("labels: %w: count", ErrCorrupt)
	}
	text := func() string {
		b := c.bytes()
		end := len(all) - len(c.b)
		return all[end-len(b) : end]
	}
	buf = resize(buf, int(n))
	for i := range buf {
		buf[i] = Label{Name: text(), Value: text()}
	}
	return buf, c.end("labels")
}

// readSeries reads so many series, of which the first has a reference of at
// least next, into a table that has its labels.
func readSeries(section []byte, series int, next uint64, t *SeriesTable) error {
	c := cursor{b: section}
	total := c.uvarint()
	if total > uint64(len(c.b)) || total > MaxLabels {
		return fmt.Errorf("series: %w: number of labels", ErrCorrupt)
	}
	t.Refs, t.Ends, t.Places = resize(t.Refs, series), resize(t.Ends, series), resize(t.Places, int(total))
	var before []uint32
	end := uint64(0)
	for i := range t.Refs {
		gap, n := c.uvarint(), c.uvarint()
		ref := next + gap
		if c.bad || ref < next || ref > maxSequence || n > total-end {
			return fmt.Errorf("series: %w", ErrCorrupt)
		}
		places := t.Places[end : end+n]
		same := places[:min(len(places), len(before))]
		copy(same, before)
		for j := range places {
			if len(c.b) > 0 && c.b[0] == 0 && j < len(same) { // most of them
				c.b = c.b[1:]
				continue
			}
			v := c.uvarint()
			if v == 0 || v > uint64(len(t.Labels)) {
				return fmt.Errorf("series: %w: label", ErrCorrupt)
			}
			places[j] = uint32(v - 1)
		}
		end += n
		t.Refs[i], t.Ends[i] = ref, uint32(end)
		before, next = places, ref+1
	}
	if end != total {
		return fmt.Errorf("series: %w: number of labels", ErrCorrupt)
	}
	return c.end("series")
}
