package stream

import (
	"math"

	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/segment"
)

// deliver puts the selected entries of a block into responses, in order of arrival,
// and sends those that are full. A block whose request another log has delivered is
// left out. It says whether any entry was selected.
func (st *stream) deliver(src *source, b *segment.Block) (found bool, err error) {
	if invariant.On {
		src.checkNext(b.Sequence)
	}
	src.labels.moveTo(b.Sequence)
	if st.repeats(src, b) {
		st.streams.metrics.repeats.Inc()
		src.sequence = b.Sequence
		return false, nil
	}
	src.sequence, src.block = b.Sequence-1, b
	defer func() { src.block = nil }()
	if err := src.matched.observe(b, src.labels); err != nil {
		return false, err
	}
	d := delivery{st: st, src: src, skip: src.entries}
	if err := d.parts(b); err != nil {
		return false, err
	}
	d.close()
	src.sequence, src.entries = b.Sequence, 0
	if src.labels.err != nil {
		return false, src.labels.err
	}
	if err := st.report(d.leftOut, src, b.Sequence-1, b.Sequence); err != nil {
		return false, err
	}
	if st.out.full() {
		return d.found, st.send(noEvent)
	}
	return d.found, nil
}

// delivery is a block under way.
type delivery struct {
	leftOut
	st    *stream
	src   *source
	skip  uint32 // entries that were delivered before
	entry uint32 // entries so far, with the current one
	found bool   // any that was selected
	ref   uint64 // the open series, 0: none
	// Of the open series: the newest of its floats, and whether it has histograms.
	newest     int64
	histograms bool
}

// parts delivers the samples in order of arrival, then the exemplars.
func (d *delivery) parts(b *segment.Block) error {
	for part, histogram := range b.Parts() {
		var err error
		if histogram != nil {
			err = d.histogram(histogram)
		} else {
			err = d.floats(&part)
		}
		if err != nil {
			return err
		}
	}
	for i := range b.Exemplars {
		if err := d.exemplar(&b.Exemplars[i]); err != nil {
			return err
		}
	}
	return nil
}

func (d *delivery) floats(part *segment.Part) error {
	st := d.st
	if part.Timestamp < st.oldest {
		d.entry += uint32(len(part.Values))
		return nil
	}
	before, end := d.entry, part.First+uint64(len(part.Values))
	for ref := d.src.matched.next(part.First, end); ref < end; ref = d.src.matched.next(ref+1, end) {
		i := ref - part.First
		if d.entry = before + uint32(i) + 1; d.entry <= d.skip {
			continue
		}
		value := part.Values[i]
		if d.found = true; st.conflate.float(d.src, ref, part.Timestamp, part.StartTimestamp, value) {
			continue
		}
		ok, err := d.open(ref, d.histograms)
		if err != nil {
			return err
		}
		if ok {
			st.out.float(part.Timestamp, part.StartTimestamp, value)
			d.newest = max(d.newest, part.Timestamp)
		}
	}
	d.entry = before + uint32(len(part.Values))
	return nil
}

func (d *delivery) histogram(h *segment.Histogram) error {
	if !d.selects(h.Ref) || h.Timestamp < d.st.oldest {
		return nil
	}
	if d.found = true; !d.fits(h.Data) || d.st.conflate.histogram(d.src, h) {
		return nil
	}
	ok, err := d.open(h.Ref, h.Timestamp < d.newest)
	if ok {
		d.st.out.histogram(h.Data)
		d.histograms = true
	}
	return err
}

func (d *delivery) exemplar(e *segment.Exemplar) error {
	if !d.selects(e.Ref) || d.isOld(e) {
		return nil
	}
	if d.found = true; !d.fits(e.Data) || d.st.conflate.exemplar(d.src, e) {
		return nil
	}
	ok, err := d.open(e.Ref, false)
	if ok {
		d.st.out.exemplar(e.Data)
	}
	return err
}

// selects moves to the next entry, and says whether it is delivered.
func (d *delivery) selects(ref uint64) bool {
	d.entry++
	return d.entry > d.skip && d.src.matched.has(ref)
}

func (d *delivery) isOld(e *segment.Exemplar) bool {
	if d.st.since == nil {
		return false
	}
	t := exemplarTime(e.Data)
	if t == 0 {
		// Whether the segment of one without a time is read depends on all series in it.
		return d.st.rights.Restricted()
	}
	return t < d.st.oldest
}

// open makes sure that the series of the current entry is open, and that there is
// room for the entry. A message has its floats before its histograms; where that is
// not the order of arrival, another one is needed for the same series. It is false for
// a series that is left out.
func (d *delivery) open(ref uint64, another bool) (bool, error) {
	if d.st.out.full() {
		d.close()
		d.src.entries = d.entry - 1
		if err := d.st.send(noEvent); err != nil {
			return false, err
		}
	}
	if d.ref == ref && !another {
		return true, nil
	}
	d.close()
	ok, err := d.opened(d.st.openSeries(d.src, ref, d.src.labels))
	switch {
	case err != nil:
		return false, d.src.labels.err
	case ok:
		d.ref, d.newest, d.histograms = ref, math.MinInt64, false
	}
	return ok, nil
}

func (d *delivery) close() {
	if d.ref != 0 {
		d.st.out.closeSeries()
		d.ref = 0
	}
}
