package samples

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/promgrpc/exporter/server/chunk"
)

// Iterator yields the samples of several parts by ascending timestamp, each timestamp once:
// the sample of the first part that has one which arrived in time. It implements
// [chunkenc.Iterator], and may be reset and used again.
type Iterator struct {
	parts   []partIterator
	current int // -1: none
	err     error
}

// partIterator is a part that is being read.
type partIterator struct {
	chunk.Iterator
	from, to int64
	started  bool
	kind     chunkenc.ValueType // none once it has ended
}

// Reset makes it an iterator over the samples of parts that arrived before a time.
func (it *Iterator) Reset(parts []Part, before int64) {
	for len(it.parts) < len(parts) {
		it.parts = append(it.parts, partIterator{})
	}
	it.parts, it.current, it.err = it.parts[:len(parts)], -1, nil
	for i := range parts {
		p, bound := &it.parts[i], before
		if parts[i].Always {
			bound = chunk.All
		}
		p.Reset(parts[i].Chunks, bound)
		p.from, p.to, p.started, p.kind = parts[i].From, parts[i].To, false, chunkenc.ValNone
	}
}

// Next implements [chunkenc.Iterator].
func (it *Iterator) Next() chunkenc.ValueType {
	if it.current < 0 {
		for i := range it.parts {
			it.parts[i].start()
		}
		return it.choose()
	}
	last := it.parts[it.current].AtT()
	for i := range it.parts {
		if p := &it.parts[i]; p.kind != chunkenc.ValNone && p.AtT() == last {
			p.moved(p.Next())
		}
	}
	return it.choose()
}

// ms are milliseconds since the epoch. Vet takes a Seek of an int64 for that of an
// [io.Seeker].
type ms = int64

// Seek implements [chunkenc.Iterator].
func (it *Iterator) Seek(t ms) chunkenc.ValueType {
	if it.current >= 0 && it.parts[it.current].AtT() >= t {
		return it.parts[it.current].kind
	}
	for i := range it.parts {
		p := &it.parts[i]
		p.start()
		if p.kind != chunkenc.ValNone && p.AtT() < t {
			p.moved(p.Seek(t))
		}
	}
	return it.choose()
}

// start goes to the first sample, once.
func (p *partIterator) start() {
	if !p.started {
		p.started = true
		p.moved(p.Seek(p.from))
	}
}

// moved notes what the part is at.
func (p *partIterator) moved(kind chunkenc.ValueType) {
	if p.kind = kind; kind != chunkenc.ValNone && p.AtT() > p.to {
		p.kind = chunkenc.ValNone
	}
}

// choose goes to the first of the samples that parts are at.
func (it *Iterator) choose() chunkenc.ValueType {
	it.current = -1
	for i := range it.parts {
		p := &it.parts[i]
		if err := p.Err(); err != nil {
			it.err, it.current = err, -1
			return chunkenc.ValNone
		}
		if p.kind != chunkenc.ValNone && (it.current < 0 || p.AtT() < it.parts[it.current].AtT()) {
			it.current = i
		}
	}
	if it.current < 0 {
		return chunkenc.ValNone
	}
	return it.parts[it.current].kind
}

// At implements [chunkenc.Iterator].
func (it *Iterator) At() (int64, float64) { return it.parts[it.current].At() }

// AtHistogram implements [chunkenc.Iterator].
func (it *Iterator) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	return it.parts[it.current].AtHistogram(h)
}

// AtFloatHistogram implements [chunkenc.Iterator].
func (it *Iterator) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return it.parts[it.current].AtFloatHistogram(h)
}

// AtT implements [chunkenc.Iterator].
func (it *Iterator) AtT() int64 { return it.parts[it.current].AtT() }

// AtST implements [chunkenc.Iterator]. Starts are not kept.
func (it *Iterator) AtST() int64 { return 0 }

// Arrival is when the sample arrived, in ms.
func (it *Iterator) Arrival() int64 { return it.parts[it.current].Arrival() }

// Err implements [chunkenc.Iterator].
func (it *Iterator) Err() error { return it.err }

var _ chunkenc.Iterator = (*Iterator)(nil)
