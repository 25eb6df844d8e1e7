package server

import (
	"github.com/promgrpc/exporter/internal/segment"
)

// deliver puts the selected entries of a block into responses, in their order,
// and sends those that get full. What another log brought already is left out.
func (st *stream) deliver(src *source, b *segment.Block) error {
	src.names.goOn(b.Sequence)
	if st.repeats(src, b) {
		st.server.metrics.repeats.Inc()
		src.sequence = b.Sequence
		return nil
	}
	src.sequence, src.block = b.Sequence-1, b
	defer func() { src.block = nil }()
	if err := src.matched.learn(b, src.names); err != nil {
		return err
	}
	d := delivery{st: st, src: src, skip: src.entries}
	for s := range b.Samples.All() {
		if !d.wants(s.Ref) || s.Timestamp < st.oldest {
			continue
		}
		if st.conflate.float(src, s.Ref, s.Timestamp, s.StartTimestamp, s.Value) {
			continue
		}
		ok, err := d.open(s.Ref)
		if err != nil {
			return err
		}
		if ok {
			st.out.float(s.Timestamp, s.StartTimestamp, s.Value)
		}
	}
	for i := range b.Histograms {
		h := &b.Histograms[i]
		if !d.wants(h.Ref) || h.Timestamp < st.oldest || !d.fits(h.Data) || st.conflate.histogram(src, h) {
			continue
		}
		ok, err := d.open(h.Ref)
		if err != nil {
			return err
		}
		if ok {
			st.out.histogram(h.Data)
		}
	}
	for i := range b.Exemplars {
		e := &b.Exemplars[i]
		if !d.wants(e.Ref) || d.isOld(e) || !d.fits(e.Data) || st.conflate.exemplar(src, e) {
			continue
		}
		ok, err := d.open(e.Ref)
		if err != nil {
			return err
		}
		if ok {
			st.out.exemplar(e.Data)
		}
	}
	d.close()
	src.sequence, src.entries = b.Sequence, 0
	if src.names.err != nil {
		return src.names.err
	}
	if err := st.tell(d.leftOut, src, b.Sequence-1, b.Sequence); err != nil {
		return err
	}
	if st.out.full() {
		return st.send(noEvent)
	}
	return nil
}

// delivery is a block under way.
type delivery struct {
	leftOut
	st    *stream
	src   *source
	skip  uint32 // entries that were delivered before
	entry uint32 // entries that were looked at, the current one included
	ref   uint64 // the series that is open, 0: none
}

// wants goes on to the next entry, and says whether it is to be delivered.
func (d *delivery) wants(ref uint64) bool {
	d.entry++
	return d.entry > d.skip && d.src.matched.has(ref)
}

func (d *delivery) isOld(e *segment.Exemplar) bool {
	if d.st.since == 0 {
		return false
	}
	t := exemplarTime(e.Data)
	return t != 0 && t < d.st.oldest
}

// open makes sure that the series of the current entry is the open one, and
// that there is room for it. It is false for one that is left out.
func (d *delivery) open(ref uint64) (bool, error) {
	if d.st.out.full() {
		d.close()
		d.src.entries = d.entry - 1
		if err := d.st.send(noEvent); err != nil {
			return false, err
		}
	}
	if d.ref == ref {
		return true, nil
	}
	d.close()
	ok, err := d.opened(d.st.open(d.src, ref, d.src.names))
	switch {
	case err != nil:
		return false, d.src.names.err
	case ok:
		d.ref = ref
	}
	return ok, nil
}

func (d *delivery) close() {
	if d.ref != 0 {
		d.st.out.close()
		d.ref = 0
	}
}
