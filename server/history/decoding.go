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
}

// run is the samples of blocks that are in no part yet.
type run struct {
	from     uint64           // the first of the blocks
	builders []*chunk.Builder // by series; nil: none
	series   int              // that have one
	bytes    int64            // when they were counted last
	samples  int              // since then
	counted  int              // series then
}

func newDecoding(log *seglog.Log, first uint64) (*decoding, error) {
	r, err := log.ReadSegment(first)
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
	for len(r.builders) < len(d.refs) {
		r.builders = append(r.builders, make([]*chunk.Builder, len(d.refs)-len(r.builders))...)
	}
	at := -1
	for part, histogram := range b.Parts() {
		if histogram != nil {
			if at = d.find(histogram.Ref, at); at < 0 {
				return fmt.Errorf("block %d: %w", b.Sequence, &segment.UnknownRefError{Ref: histogram.Ref})
			}
			// Who wrote it was told if it is none.
			_ = r.builder(at).Wire(histogram.Timestamp, chunk.Lag(histogram.Timestamp, d.time), histogram.Data)
			continue
		}
		lag := chunk.Lag(part.Timestamp, d.time)
		for i, v := range part.Values {
			ref := part.First + uint64(i)
			if at = d.find(ref, at); at < 0 {
				return fmt.Errorf("block %d: %w", b.Sequence, &segment.UnknownRefError{Ref: ref})
			}
			r.builder(at).Float(part.Timestamp, lag, v)
		}
	}
	r.samples += b.Samples.Len() + len(b.Histograms)
	return nil
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

func (r *run) builder(series int) *chunk.Builder {
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
		int64(4*cap(d.rows)+4*cap(d.ends)+8*cap(d.refs)) + indexSeriesBytes*int64(len(d.refs))
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
