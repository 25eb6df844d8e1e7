package history

import (
	"errors"
	"io"
	"slices"

	"github.com/promgrpc/exporter/internal/segment"
)

// merge makes one part of those of a segment, unless there is no room for it: then they
// stay as they are.
func (s *Store) merge(t *turns, en *entry) error {
	s.mu.Lock()
	parts := slices.Clone(en.parts)
	unwritten := len(parts) - en.onDisk()
	s.mu.Unlock()
	if len(parts) < 2 || unwritten > 0 {
		return nil
	}
	last := parts[len(parts)-1]
	merged := &stored{span: span{en.log, en.first, parts[0].from, last.to}}
	err := s.writeFile(merged, func(w io.Writer) error { return s.writeMerged(t, w, merged, parts) })
	if errors.Is(err, errGivenUp) || errors.Is(err, errDamaged) {
		return err
	}
	if err != nil {
		s.log.Debug("merge parts", "err", err)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		s.remove(p)
	}
	en.parts = append([]*stored{merged}, en.parts[len(parts):]...)
	return nil
}

func (s *Store) writeMerged(t *turns, w io.Writer, merged *stored, parts []*stored) error {
	hold := s.o.Memory.Hold(holder)
	defer hold.Release()
	m := merging{}
	for _, p := range parts {
		o, err := s.open(p)
		if err != nil {
			return err
		}
		defer o.close()
		read, err := openPart(o.r, o.size)
		if err != nil {
			return err
		}
		if err := hold.Grow(read.bytes() + mergeLabelBytes*int64(read.labels) + read.sections[ofPostings][0] - read.sections[ofLabels][0]); err != nil {
			return err
		}
		m = append(m, &mergeSource{part: read, extents: extents{r: o.r, limit: read.sections[ofSeries][0]}})
		merged.sum = read.sum // the last one's stays
	}
	labels, err := m.join(t)
	if err != nil {
		return err
	}
	p, err := newPartWriter(w, merged.span, merged.sum, labels)
	if err != nil {
		return err
	}
	if err := m.write(t, p); err != nil {
		return err
	}
	return p.finish()
}

// mergeLabelBytes is about what a label takes while it is merged, besides its bytes: twice
// in a list, its number, and its postings.
const mergeLabelBytes = 150

// merging are parts in order of arrival.
type merging []*mergeSource

// mergeSource is a part at one of its series.
type mergeSource struct {
	*part
	extents extents
	numbers []uint32 // of the labels, among those of all parts
	near    seriesBlock
	id      int // of the next series
	at      *series
	row     []uint32
}

// join returns the labels of all parts, sorted, and finds the numbers that each part's
// have among them.
func (m merging) join(t *turns) ([]segment.Label, error) {
	var all []segment.Label
	for _, s := range m {
		own, err := s.ownLabels(t)
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	slices.SortFunc(all, compareLabels)
	all = slices.Compact(all)
	for _, s := range m {
		own, err := s.ownLabels(t)
		if err != nil {
			return nil, err
		}
		at := 0
		s.numbers = make([]uint32, len(own))
		for i, l := range own {
			for all[at] != l {
				at++
			}
			s.numbers[i] = uint32(at)
		}
	}
	return all, nil
}

func (s *mergeSource) ownLabels(t *turns) ([]segment.Label, error) {
	labels := make([]segment.Label, 0, s.labels)
	for i := range len(s.sections[ofLabels]) - 1 {
		if err := t.step(); err != nil {
			return nil, err
		}
		values, err := s.readValues(uint32(i))
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			labels = append(labels, segment.Label{Name: s.nameOf(uint32(len(labels))).text, Value: v})
		}
	}
	if !slices.IsSortedFunc(labels, compareLabels) {
		return nil, errDamaged
	}
	return labels, nil
}

// next goes to the next series.
func (s *mergeSource) next() error {
	s.at = nil
	if s.id == int(s.count) {
		return nil
	}
	if s.id%perBlock == 0 {
		if err := s.readSeries(uint32(s.id/perBlock), &s.near); err != nil {
			return err
		}
	}
	s.at = &s.near.entries[s.id%perBlock]
	s.id++
	s.row = s.row[:0]
	for _, n := range s.at.row {
		s.row = append(s.row, s.numbers[n])
	}
	return nil
}

// write adds the series of all parts to one.
func (m merging) write(t *turns, p *partWriter) error {
	for _, s := range m {
		if err := s.next(); err != nil {
			return err
		}
	}
	var extent []byte
	var row []uint32
	for {
		var least *mergeSource
		for _, s := range m {
			if s.at != nil && (least == nil || slices.Compare(s.row, least.row) < 0) {
				least = s
			}
		}
		if least == nil {
			return nil
		}
		if err := t.step(); err != nil {
			return err
		}
		row, extent = append(row[:0], least.row...), extent[:0]
		low, high := least.at.min, least.at.max
		for _, s := range m {
			if s.at == nil || !slices.Equal(s.row, row) {
				continue
			}
			low, high = min(low, s.at.min), max(high, s.at.max)
			b, err := s.extents.read(s.at.offset, s.at.length)
			if err != nil {
				return s.unread(err)
			}
			extent = append(extent, b...)
			if err := s.next(); err != nil {
				return err
			}
		}
		if err := p.add(row, low, high, extent); err != nil {
			return err
		}
	}
}
