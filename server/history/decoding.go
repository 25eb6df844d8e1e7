package history

import (
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/postings"
)

// decoding is a segment that is being decoded, at some block. One goroutine at a time moves
// it on; any number may read the run meanwhile.
type decoding struct {
	log    *seglog.Log
	reader *seglog.SegmentReader
	last   uint64 // block that was decoded
	sum    uint32 // checksum of its frame
	time   int64  // of the latest block
	ended  bool   // the footer was there, or the rest cannot be read

	// mu is locked while a frame is applied.
	mu      sync.RWMutex
	numbers map[segment.Label]uint32 // of labels, as they came
	labels  []segment.Label          // by number
	known   []uint32                 // of the labels of the frame at hand; none where not asked yet
	texts   int64                    // bytes of the labels
	refs    []uint64                 // of the series, as they came, which is ascending
	rows    []uint32                 // label numbers of all series
	ends    []uint32                 // in rows, by series
	index   *postings.Index          // of the first series, as many as anybody asked for
	run     *run

	// waiting are floats of the run that no builder has yet: added a series at a time,
	// several cost about as many cache misses as one.
	waiting []float
	places  []uint32
	order   []uint32
}

// float is one of a series, which came so late.
type float struct {
	series uint32
	lag    uint64
	t      int64
	v      float64
}

// mostWaiting floats are added together, and as many take floatBytes each.
const (
	mostWaiting = 1 << 20
	floatBytes  = 32 + 4
)

// run is the samples of blocks that are in no part yet.
type run struct {
	from     uint64           // the first of the blocks
	builders []*chunk.Builder // by series; nil: none
	series   int              // that have one
	bytes    int64            // when they were counted last
	samples  int              // since then
	counted  int              // series then
}

func newDecoding(log *seglog.Log, first uint64, wait seglog.Wait) (*decoding, error) {
	r, err := log.ReadSegment(first, wait)
	if err != nil {
		return nil, err
	}
	d := &decoding{
		log: log, reader: r, last: first - 1, numbers: map[segment.Label]uint32{}, index: postings.NewIndex(),
		run: &run{from: first},
	}
	d.index.Labels(func(number uint32) segment.Label { return d.labels[number] })
	return d, nil
}

// next decodes a frame, and says whether there was one. Samples up to a block are left
// out.
func (d *decoding) next(after uint64) (bool, error) {
	f, err := d.reader.Next()
	if f == nil || err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch f.Header.Kind {
	case segment.KindKeyframe:
		d.addSeries(&f.Keyframe.Series)
		if f.Keyframe.Last {
			f.Keyframe = segment.Keyframe{} // It is large, and the segment has no other.
		}
	case segment.KindBlock:
		b := f.Block
		d.addSeries(&b.Series)
		d.time = max(d.time, b.Time)
		if b.Sequence > after {
			if err := d.addSamples(b); err != nil {
				return false, err
			}
		} else {
			d.run.from = b.Sequence + 1
		}
		d.last, d.sum = b.Sequence, f.Header.Checksum
	default:
		d.ended = true
	}
	return true, nil
}

// addSeries adds the new series of a frame.
func (d *decoding) addSeries(t *segment.SeriesTable) {
	d.known = slices.Grow(d.known[:0], len(t.Labels))[:len(t.Labels)]
	for i := range d.known {
		d.known[i] = unknown
	}
	for i, ref := range t.Refs {
		for _, index := range t.Row(i) {
			n := d.known[index]
			if n == unknown {
				n = d.number(t.Labels[index])
				d.known[index] = n
			}
			d.rows = append(d.rows, n)
		}
		d.refs = append(d.refs, ref)
		d.ends = append(d.ends, uint32(len(d.rows)))
	}
}

// unknown is no label number.
const unknown = 1<<32 - 1

func (d *decoding) number(l segment.Label) uint32 {
	n, ok := d.numbers[l]
	if !ok {
		n = uint32(len(d.labels))
		d.labels = append(d.labels, l)
		d.numbers[l] = n
		d.texts += int64(len(l.Name) + len(l.Value))
	}
	return n
}

// row returns the label numbers of a series.
func (d *decoding) row(series int) []uint32 {
	from := uint32(0)
	if series > 0 {
		from = d.ends[series-1]
	}
	return d.rows[from:d.ends[series]]
}

// addSamples adds those of a block.
func (d *decoding) addSamples(b *segment.Block) error {
	r := d.run
	if len(b.Histograms) > 0 {
		d.settle() // They are in order of arrival with the floats of their series.
	}
	at := -1
	for part, histogram := range b.Parts() {
		if histogram != nil {
			if at = d.find(histogram.Ref, at); at < 0 {
				return fmt.Errorf("block %d: %w", b.Sequence, &segment.UnknownRefError{Ref: histogram.Ref})
			}
			d.settle()
			// Who wrote it was told if it is none.
			_ = d.builder(at).Wire(histogram.Timestamp, chunk.Lag(histogram.Timestamp, d.time), histogram.Data)
			continue
		}
		lag := chunk.Lag(part.Timestamp, d.time)
		for i, v := range part.Values {
			ref := part.First + uint64(i)
			if at = d.find(ref, at); at < 0 {
				return fmt.Errorf("block %d: %w", b.Sequence, &segment.UnknownRefError{Ref: ref})
			}
			d.waiting = append(d.waiting, float{uint32(at), lag, part.Timestamp, v})
		}
	}
	r.samples += b.Samples.Len() + len(b.Histograms)
	if len(d.waiting) >= mostWaiting {
		d.settle()
	}
	return nil
}

// settle gives the floats that wait to their builders. The caller holds the lock.
func (d *decoding) settle() {
	if len(d.waiting) < len(d.refs)/8 {
		for i := range d.waiting {
			w := &d.waiting[i]
			d.builder(int(w.series)).Float(w.t, w.lag, w.v)
		}
		d.waiting = d.waiting[:0]
		return
	}
	// Where those of a series are in order, at first from, and at last up to.
	at := append(d.places[:0], make([]uint32, len(d.refs)+1)...)
	for i := range d.waiting {
		at[d.waiting[i].series+1]++
	}
	for i := range d.refs {
		at[i+1] += at[i]
	}
	d.order = slices.Grow(d.order[:0], len(d.waiting))[:len(d.waiting)]
	for i := range d.waiting {
		place := &at[d.waiting[i].series]
		d.order[*place] = uint32(i)
		*place++
	}
	from := uint32(0)
	for series := range d.refs {
		if from == at[series] {
			continue
		}
		b := d.builder(series)
		for _, i := range d.order[from:at[series]] {
			w := &d.waiting[i]
			b.Float(w.t, w.lag, w.v)
		}
		from = at[series]
	}
	d.places, d.waiting = at, d.waiting[:0]
}

// find returns which series a reference is of, most often the one after another; below 0
// if it is of none.
func (d *decoding) find(ref uint64, after int) int {
	if next := after + 1; next < len(d.refs) && d.refs[next] == ref {
		return next
	}
	if i, ok := slices.BinarySearch(d.refs, ref); ok {
		return i
	}
	return -1
}

// settleAll leaves no float waiting, and keeps no memory for them.
func (d *decoding) settleAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	d.waiting, d.order, d.places = nil, nil, nil
}

// builder returns that of a series.
func (d *decoding) builder(series int) *chunk.Builder {
	r := d.run
	for len(r.builders) <= series {
		r.builders = append(r.builders, make([]*chunk.Builder, len(d.refs)-len(r.builders))...)
	}
	b := r.builders[series]
	if b == nil {
		b = new(chunk.Builder)
		r.builders[series] = b
		r.series++
	}
	return b
}

const (
	// countEvery is after how many samples it is counted what a run takes.
	countEvery = 1 << 18
	// sampleBytes is what a sample takes at most, until then.
	sampleBytes = 24
)

// size is about what the run takes in memory.
func (r *run) size() int64 {
	if r.samples > countEvery {
		r.bytes, r.samples, r.counted = 0, 0, r.series
		for _, b := range r.builders {
			if b != nil {
				r.bytes += b.Bytes()
			}
		}
	}
	return r.bytes + int64(8*len(r.builders)) + sampleBytes*int64(r.samples) + chunk.BuilderBytes*int64(r.series-r.counted)
}

// What a label takes in the table, besides its bytes, and a series in the index.
const (
	labelBytes       = 100
	indexSeriesBytes = 24
)

// size is about what the decoding takes in memory, besides its run.
func (d *decoding) size() int64 {
	return d.reader.Bytes() + d.texts + labelBytes*int64(len(d.labels)) +
		int64(4*cap(d.rows)+4*cap(d.ends)+8*cap(d.refs)+4*cap(d.places)) + indexSeriesBytes*int64(len(d.refs)) +
		floatBytes*int64(cap(d.waiting))
}

// view returns the run as it is, and where its series are found. They have the ids by
// which the run's builders are found.
func (d *decoding) view() (*run, *postings.View) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index.Lock()
	defer d.index.Unlock()
	for have := d.index.View().Len(); have < len(d.refs); have++ {
		d.index.SeriesAdded(d.refs[have], d.row(have))
	}
	return d.run, d.index.View()
}

// labelsOf returns the labels of a series.
func (d *decoding) labelsOf(series int, b *labels.ScratchBuilder) labels.Labels {
	d.mu.RLock()
	defer d.mu.RUnlock()
	b.Reset()
	for _, n := range d.row(series) {
		b.Add(d.labels[n].Name, d.labels[n].Value)
	}
	return b.Labels()
}

// chunks returns those of a series.
func (d *decoding) chunks(r *run, series int) []chunk.Chunk {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if series >= len(r.builders) || r.builders[series] == nil {
		return nil
	}
	return r.builders[series].Chunks()
}

// compare compares the labels of two series.
func (d *decoding) compare(a, b int) int {
	x, y := d.row(a), d.row(b)
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return compareLabels(d.labels[x[i]], d.labels[y[i]])
		}
	}
	return len(x) - len(y)
}
