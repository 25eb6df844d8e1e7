package storeapi

import (
	"cmp"
	"slices"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// dictionary has each label once that series have, whichever logs these are in. A label has
// an id, in the order in which they came, and in the end a rank, by name and then by value:
// series are compared by the ranks of their labels, and not by their bytes.
type dictionary struct {
	relabelling
	ofAdded []uint32          // ids of what is added to each series
	ids     map[string]uint32 // by wire
	labels  []label           // by id
	ranked  []uint32          // ids by rank
	scratch []byte
	bytes   int64 // that it takes, about
}

// label is one in the dictionary.
type label struct {
	segment.Label
	wire    string // as a field 1 of a message
	rank    uint32 // from 1 on
	removed bool   // from series that have it
}

// labelBytes is what a label takes here besides its bytes.
const labelBytes = 160

func newDictionary(r relabelling) *dictionary {
	d := &dictionary{relabelling: r, ids: map[string]uint32{}}
	for _, l := range r.added {
		d.ofAdded = append(d.ofAdded, d.of(l.Name, l.Value))
	}
	return d
}

// of returns the id of a label.
func (d *dictionary) of(name, value string) uint32 {
	d.scratch = segment.AppendLabel(d.scratch[:0], name, value)
	if id, ok := d.ids[string(d.scratch)]; ok {
		return id
	}
	return d.add(string(d.scratch))
}

// ofWire returns the id of a label that is a field 1 already.
func (d *dictionary) ofWire(wire string) uint32 {
	if id, ok := d.ids[wire]; ok {
		return id
	}
	return d.add(wire)
}

func (d *dictionary) add(wire string) uint32 {
	id := uint32(len(d.labels))
	l := label{Label: head.ParseLabel(wire), wire: wire}
	_, l.removed = d.removed[l.Name]
	d.labels = append(d.labels, l)
	d.ids[wire] = id
	d.bytes += labelBytes + int64(len(wire))
	return id
}

// rank ranks all labels.
func (d *dictionary) rank() {
	d.ranked = make([]uint32, len(d.labels))
	for i := range d.ranked {
		d.ranked[i] = uint32(i)
	}
	slices.SortFunc(d.ranked, func(a, b uint32) int {
		l, m := &d.labels[a], &d.labels[b]
		if c := cmp.Compare(l.Name, m.Name); c != 0 {
			return c
		}
		return cmp.Compare(l.Value, m.Value)
	})
	for i, id := range d.ranked {
		d.labels[id].rank = uint32(i) + 1
	}
}

// at returns the label of a rank.
func (d *dictionary) at(rank uint32) *label { return &d.labels[d.ranked[rank-1]] }
