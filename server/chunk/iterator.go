package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// All is the bound of an [Iterator] that yields all samples.
const All = math.MaxInt64

// Iterator yields the samples of a series by ascending timestamp, each timestamp once: the
// sample of the first chunk that has one which arrived in time. It implements
// [chunkenc.Iterator], and may be reset and used again.
type Iterator struct {
	chunks []Chunk
	before int64
	order  []int32 // of the chunks by Min; empty: they are in it
	next   int     // in that order, the first chunk that was not opened

	open    []source // at a sample each
	free    []chunkenc.Iterator
	current int // in open; -1: none
	err     error
}

// source is a chunk that is being read.
type source struct {
	number int
	it     chunkenc.Iterator
	kind   chunkenc.ValueType
	lags   []byte
	lagged bool // it has lags
	lag    uint64
	t      int64
}

// NewIterator returns an iterator over the samples that arrived before a time in ms.
func NewIterator(chunks []Chunk, before int64) *Iterator {
	it := new(Iterator)
	it.Reset(chunks, before)
	return it
}

// Reset makes it an iterator over the samples of other chunks that arrived before a time.
func (it *Iterator) Reset(chunks []Chunk, before int64) {
	for i := range it.open {
		it.release(&it.open[i])
	}
	*it = Iterator{
		chunks: chunks, before: before, order: byMin(chunks, it.order),
		open: it.open[:0], free: it.free, current: -1,
	}
}

// Next implements [chunkenc.Iterator].
func (it *Iterator) Next() chunkenc.ValueType {
	if it.current < 0 {
		return it.seek(math.MinInt64)
	}
	t := it.open[it.current].t
	if t == math.MaxInt64 {
		it.end()
		return chunkenc.ValNone
	}
	return it.seek(t + 1)
}

// ms are milliseconds since the epoch. Vet takes a Seek of an int64 for that of an
// [io.Seeker].
type ms = int64

// Seek implements [chunkenc.Iterator].
func (it *Iterator) Seek(t ms) chunkenc.ValueType {
	if it.current >= 0 && it.open[it.current].t >= t {
		return it.open[it.current].kind
	}
	return it.seek(t)
}

// seek goes to the first sample from a timestamp on.
func (it *Iterator) seek(t int64) chunkenc.ValueType {
	it.current = -1
	for i := 0; i < len(it.open); {
		if s := &it.open[i]; s.t >= t || it.advance(s, t) {
			i++
			continue
		}
		it.close(i)
	}
	least := int64(math.MaxInt64)
	for i := range it.open {
		least = min(least, it.open[i].t)
	}
	for it.next < len(it.chunks) {
		number := it.next
		if len(it.order) > 0 {
			number = int(it.order[it.next])
		}
		if len(it.open) > 0 && it.chunks[number].Min > least {
			break
		}
		it.next++
		if it.start(number, t) {
			least = min(least, it.open[len(it.open)-1].t)
		}
	}
	if it.err != nil {
		it.end()
		return chunkenc.ValNone
	}
	for i := range it.open {
		s := &it.open[i]
		if s.t == least && (it.current < 0 || s.number < it.open[it.current].number) {
			it.current = i
		}
	}
	if it.current < 0 {
		return chunkenc.ValNone
	}
	return it.open[it.current].kind
}

// start opens a chunk at its first sample from a timestamp on, if there is one.
func (it *Iterator) start(number int, t int64) bool {
	c := &it.chunks[number]
	if c.Max < t {
		return false
	}
	s := source{number: number, lags: c.Lags, lagged: len(c.Lags) > 0, it: c.Data.Iterator(it.reusable())}
	if it.open = append(it.open, s); it.advance(&it.open[len(it.open)-1], t) {
		return true
	}
	it.close(len(it.open) - 1)
	return false
}

// advance goes to the next sample of a chunk from a timestamp on that arrived in time.
func (it *Iterator) advance(s *source, t int64) bool {
	c := &it.chunks[s.number]
	if c.Max < t || it.err != nil {
		return false
	}
	for {
		if s.kind = s.it.Next(); s.kind == chunkenc.ValNone {
			if err := s.it.Err(); err != nil {
				it.err = fmt.Errorf("read chunk of %d to %d: %w", c.Min, c.Max, err)
			}
			return false
		}
		if s.lagged {
			lag, n := uvarint(s.lags)
			if n <= 0 {
				it.err = errLags
				return false
			}
			s.lag, s.lags = lag, s.lags[n:]
		}
		if s.t = s.it.AtT(); s.t >= t && (it.before == All || Arrival(s.t, s.lag) < it.before) {
			return true
		}
	}
}

var errLags = errors.New("read chunk: lags are missing or damaged")

// uvarint is [binary.Uvarint], which is not inlined.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	return binary.Uvarint(b)
}

// close takes a chunk out of those that are read.
func (it *Iterator) close(i int) {
	it.release(&it.open[i])
	last := len(it.open) - 1
	it.open[i] = it.open[last]
	it.open = it.open[:last]
}

// keepFree is how many iterators are kept to be used again.
const keepFree = 4

func (it *Iterator) release(s *source) {
	if len(it.free) < keepFree {
		it.free = append(it.free, s.it)
	}
	s.it = nil
}

// reusable returns an iterator that a chunk may use again. One of another encoding is of
// no use to it.
func (it *Iterator) reusable() chunkenc.Iterator {
	if len(it.free) == 0 {
		return nil
	}
	last := len(it.free) - 1
	free := it.free[last]
	it.free = it.free[:last]
	return free
}

// end leaves nothing to yield.
func (it *Iterator) end() {
	for len(it.open) > 0 {
		it.close(0)
	}
	it.next, it.current = len(it.chunks), -1
}

// At implements [chunkenc.Iterator].
func (it *Iterator) At() (int64, float64) { return it.open[it.current].it.At() }

// AtHistogram implements [chunkenc.Iterator].
func (it *Iterator) AtHistogram(h *histogram.Histogram) (int64, *histogram.Histogram) {
	t, h := it.open[it.current].it.AtHistogram(h)
	h.CounterResetHint = hintOf(h.CounterResetHint)
	return t, h
}

// AtFloatHistogram implements [chunkenc.Iterator].
func (it *Iterator) AtFloatHistogram(h *histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	t, h := it.open[it.current].it.AtFloatHistogram(h)
	h.CounterResetHint = hintOf(h.CounterResetHint)
	return t, h
}

// hintOf keeps that a histogram is a gauge. Whether a chunk says that there was no reset
// depends on where it was cut.
func hintOf(h histogram.CounterResetHint) histogram.CounterResetHint {
	if h == histogram.GaugeType {
		return h
	}
	return histogram.UnknownCounterReset
}

// AtT implements [chunkenc.Iterator].
func (it *Iterator) AtT() int64 { return it.open[it.current].t }

// AtST implements [chunkenc.Iterator]. Starts are not kept.
func (it *Iterator) AtST() int64 { return 0 }

// Arrival is when the sample arrived, in ms.
func (it *Iterator) Arrival() int64 {
	s := &it.open[it.current]
	return Arrival(s.t, s.lag)
}

// Err implements [chunkenc.Iterator].
func (it *Iterator) Err() error { return it.err }
