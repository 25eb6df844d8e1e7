package window_test

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/window"
)

const span = time.Minute

func options() window.Options {
	return window.Options{Span: span, Bytes: 1 << 40, Logger: slog.New(slog.DiscardHandler)}
}

// sample is one, as text.
type sample struct {
	t, arrival int64
	text       string
}

// model is what a naive reader of the log says.
type model map[uint64][]sample

// expected is what there is of a series from a timestamp on.
func (m model) expected(ref uint64, floor int64) []sample {
	first := map[int64]sample{}
	for _, s := range m[ref] {
		if _, ok := first[s.t]; !ok && s.t >= floor {
			first[s.t] = s
		}
	}
	return slices.SortedFunc(maps.Values(first), func(a, b sample) int { return cmp.Compare(a.t, b.t) })
}

// read returns what a view has of a series from a timestamp on.
func read(t *testing.T, v *window.View, ref uint64, floor int64) []sample {
	t.Helper()
	it := chunk.NewIterator(v.Reader(floor, math.MaxInt64).Chunks(ref, nil), chunk.All)
	return drain(t, it, floor)
}

func drain(t *testing.T, it *chunk.Iterator, floor int64) []sample {
	t.Helper()
	var all []sample
	for kind := it.Seek(floor); kind != chunkenc.ValNone; kind = it.Next() {
		s := sample{t: it.AtT(), arrival: it.Arrival()}
		switch kind {
		case chunkenc.ValFloat:
			_, f := it.At()
			s.text = textOf(f)
		case chunkenc.ValHistogram:
			_, h := it.AtHistogram(nil)
			s.text = "histogram " + h.String()
		case chunkenc.ValFloatHistogram:
			_, h := it.AtFloatHistogram(nil)
			s.text = "float histogram " + h.String()
		}
		all = append(all, s)
	}
	require.NoError(t, it.Err())
	return all
}

func textOf(f float64) string { return fmt.Sprintf("%x", math.Float64bits(f)) }

// writer makes random blocks.
type writer struct {
	r     *rand.Rand
	model model
	next  segment.Block
	time  int64
	refs  []uint64
}

func newWriter(seed uint64) *writer {
	w := &writer{r: rand.New(rand.NewPCG(seed, 0)), model: model{}, time: 1_700_000_000_000}
	for range 1 + w.r.IntN(4) {
		from := w.r.Uint64N(5000)
		for i := range 1 + w.r.Uint64N(20) {
			w.refs = append(w.refs, from+i)
		}
	}
	slices.Sort(w.refs)
	w.refs = slices.Compact(w.refs)
	return w
}

// block returns the next block: scrapes of runs of series, and other samples.
func (w *writer) block() *segment.Block {
	w.time += w.r.Int64N(1500)
	w.next = segment.Block{Sequence: w.next.Sequence + 1, Time: w.time}
	b := &w.next
	at := w.time - w.r.Int64N(3000)
	for range 1 + w.r.IntN(3) {
		from := w.r.IntN(len(w.refs))
		for _, ref := range w.refs[from:min(len(w.refs), from+w.r.IntN(20))] {
			w.float(ref, at, float64(w.r.IntN(100))/8)
		}
	}
	for range w.r.IntN(4) {
		w.odd(w.refs[w.r.IntN(len(w.refs))])
	}
	return b
}

func (w *writer) float(ref uint64, t int64, f float64) {
	w.next.Samples.Add(segment.Sample{Ref: ref, Timestamp: t, Value: f})
	w.add(ref, t, textOf(f))
}

func (w *writer) add(ref uint64, t int64, text string) {
	w.model[ref] = append(w.model[ref], sample{t, chunk.Arrival(t, chunk.Lag(t, w.time)), text})
}

// odd adds a sample that is late, early, twice there, a stale marker or a histogram.
func (w *writer) odd(ref uint64) {
	t := w.time - w.r.Int64N(2*span.Milliseconds())
	if of := w.model[ref]; len(of) > 0 && w.r.IntN(3) == 0 {
		t = of[w.r.IntN(len(of))].t
	}
	h := tsdbutil.GenerateTestHistogram(w.r.Int64N(50))
	switch w.r.IntN(6) {
	case 0:
		w.float(ref, t, math.Float64frombits(value.StaleNaN))
	case 1:
		w.float(ref, w.time+w.r.Int64N(span.Milliseconds()), 1)
	case 2:
		m := prompb.FromIntHistogram(t, h)
		w.histogram(ref, t, &m, "histogram "+h.String())
	case 3:
		m := prompb.FromFloatHistogram(t, h.ToFloat(nil))
		w.histogram(ref, t, &m, "float histogram "+h.ToFloat(nil).String())
	case 4:
		h = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
		m := prompb.FromIntHistogram(t, h)
		w.histogram(ref, t, &m, "histogram "+h.String())
	default:
		w.float(ref, t, float64(w.r.IntN(100)))
	}
}

func (w *writer) histogram(ref uint64, t int64, m *prompb.Histogram, text string) {
	data, err := m.Marshal()
	if err != nil {
		panic(err)
	}
	w.next.AddHistogram(ref, t, data)
	w.add(ref, t, text)
}

func (w *writer) check(t *testing.T, v *window.View) {
	t.Helper()
	require.GreaterOrEqual(t, v.Floor(), w.time-span.Milliseconds())
	all := v.Reader(v.Floor(), math.MaxInt64)
	for _, ref := range w.refs {
		expected := w.model.expected(ref, v.Floor())
		require.Equal(t, expected, read(t, v, ref, v.Floor()), "series %d, floor %d, time %d", ref, v.Floor(), w.time)
		it := chunk.NewIterator(all.Chunks(ref, nil), chunk.All)
		require.Equal(t, expected, drain(t, it, v.Floor()), "series %d after others", ref)
	}
}

// TestWindowHasWhatTheLogHas applies random blocks, and compares views with a naive reader
// of the log, when they are taken and later.
func TestWindowHasWhatTheLogHas(t *testing.T) {
	for seed := range uint64(30) {
		m := window.NewMemory(options())
		x, w := m.New(), newWriter(seed)
		for range 400 {
			x.ApplyBlock(w.block())
			if w.r.IntN(20) > 0 {
				continue
			}
			v := x.View()
			assert.Equal(t, w.time-span.Milliseconds(), v.Floor())
			w.check(t, v)
			before := map[uint64][]sample{}
			for _, ref := range w.refs {
				before[ref] = read(t, v, ref, v.Floor())
			}
			for range w.r.IntN(200) {
				x.ApplyBlock(w.block())
			}
			for _, ref := range w.refs {
				require.Equal(t, before[ref], read(t, v, ref, v.Floor()))
			}
			v.Release()
		}
		assert.Equal(t, m.Bytes(), x.Stats().Bytes)
		x.Close()
		assert.Zero(t, m.Bytes(), "seed %d", seed)
	}
}

// TestReadersDoNotDisturb reads views while blocks are applied.
func TestReadersDoNotDisturb(t *testing.T) {
	x, w := window.NewMemory(options()).New(), newWriter(1)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				v := x.View()
				for _, ref := range w.refs {
					before := read(t, v, ref, v.Floor())
					assert.Equal(t, before, read(t, v, ref, v.Floor()))
					v.Exemplars(ref)
				}
				x.Stats()
				v.Release()
			}
		})
	}
	for range 2000 {
		x.ApplyBlock(w.block())
	}
	close(stop)
	readers.Wait()
	v := x.View()
	w.check(t, v)
}

// TestMemoryIsBounded gives windows less than they need: their floors rise, and what is
// above them is there.
func TestMemoryIsBounded(t *testing.T) {
	o := options()
	o.Bytes = 30_000
	m := window.NewMemory(o)
	a, b := m.New(), m.New()
	wa, wb := newWriter(1), newWriter(2)
	for i := range 1000 {
		a.ApplyBlock(wa.block())
		b.ApplyBlock(wb.block())
		// What is being encoded meanwhile comes on top.
		require.LessOrEqual(t, m.Bytes(), o.Bytes+o.Bytes/2)
		if i%100 == 99 {
			va, vb := a.View(), b.View()
			wa.check(t, va)
			wb.check(t, vb)
			assert.Greater(t, max(va.Floor()-wa.time, vb.Floor()-wb.time), -span.Milliseconds())
		}
	}
}

func TestFloor(t *testing.T) {
	block := func(sequence uint64, at int64) *segment.Block {
		b := &segment.Block{Sequence: sequence, Time: at}
		b.Samples.Add(segment.Sample{Ref: 1, Timestamp: at, Value: 1})
		return b
	}
	const start, second = 1_700_000_000_000, 1000
	x := window.NewMemory(options()).New()
	assert.Equal(t, int64(math.MaxInt64), x.View().Floor(), "there is nothing yet")
	x.ApplyBlock(block(1, start))
	assert.Equal(t, start-span.Milliseconds(), x.View().Floor(), "a new log")
	x.ApplyBlock(block(2, start+second))
	assert.Equal(t, start+second-span.Milliseconds(), x.View().Floor())
	x.ApplyBlock(block(5, start+2*second))
	assert.Greater(t, x.View().Floor(), int64(start+2*second), "blocks are missing")
	x.ApplyBlock(block(6, start+400*second))
	assert.Equal(t, start+400*second-span.Milliseconds(), x.View().Floor(), "what is missing is too old")
	x.ApplyKeyframe(6)
	assert.Equal(t, start+400*second-span.Milliseconds(), x.View().Floor(), "the state after the last block")
	x.SeriesDropped(2)
	assert.Equal(t, start+400*second-span.Milliseconds(), x.View().Floor(), "a series that has no samples")
	x.SeriesDropped(1)
	assert.Equal(t, int64(start+400*second+1), x.View().Floor(), "a series that has")
	x.ApplyKeyframe(9)
	assert.Equal(t, int64(math.MaxInt64), x.View().Floor(), "the state after blocks that are missing")
	x.ApplyBlock(block(10, start+401*second))
	assert.Greater(t, x.View().Floor(), int64(start+401*second))

	x = window.NewMemory(options()).New()
	x.ApplyBlock(block(7, start))
	assert.Greater(t, x.View().Floor(), int64(start), "a log of which the first blocks are missing")

	x = window.NewMemory(window.Options{}).New()
	x.ApplyBlock(block(1, start))
	x.SeriesDropped(1)
	assert.Equal(t, int64(math.MaxInt64), x.View().Floor(), "turned off")
	assert.Empty(t, x.View().Reader(0, math.MaxInt64).Chunks(1, nil))
	assert.Empty(t, x.View().Exemplars(1))
	x.Close()
}

func TestExemplars(t *testing.T) {
	x := window.NewMemory(options()).New()
	apply := func(sequence uint64, at int64, refs ...uint64) {
		b := &segment.Block{Sequence: sequence, Time: at}
		for _, ref := range refs {
			b.Exemplars = append(b.Exemplars, segment.Exemplar{Ref: ref, Data: fmt.Appendf(nil, "%d at %d", ref, at)})
		}
		x.ApplyBlock(b)
	}
	apply(1, 1000, 1, 2)
	apply(2, 2000, 1)
	v := x.View()
	assert.Equal(t, [][]byte{[]byte("1 at 1000"), []byte("1 at 2000")}, v.Exemplars(1))
	assert.Equal(t, [][]byte{[]byte("2 at 1000")}, v.Exemplars(2))
	assert.Empty(t, v.Exemplars(3))
	apply(3, 1500+span.Milliseconds(), 3)
	assert.Equal(t, [][]byte{[]byte("1 at 2000")}, v.Exemplars(1))
	assert.Empty(t, v.Exemplars(2))

	many := slices.Repeat([]uint64{4}, window.MostExemplars)
	apply(4, 1501+span.Milliseconds(), many...)
	assert.Empty(t, v.Exemplars(3), "there is room for so many")
	assert.Len(t, v.Exemplars(4), window.MostExemplars)
}

func BenchmarkWindow(b *testing.B) {
	for _, run := range []int{1000, 50, 1} {
		b.Run(fmt.Sprintf("runs of %d", run), func(b *testing.B) {
			const series = 100_000
			x := window.NewMemory(options15()).New()
			r := rand.New(rand.NewPCG(1, 1))
			counters := make([]float64, series)
			at, sequence := int64(1_700_000_000_000), uint64(0)
			var blocks []*segment.Block
			scrape := func() {
				blocks = blocks[:0]
				at += 15_000
				for first := 0; first < series; first += 500 {
					sequence++
					block := &segment.Block{Sequence: sequence, Time: at + int64(first)/10}
					for i := first; i < first+500; i++ {
						if r.IntN(3) > 0 {
							counters[i] += float64(r.IntN(1000))
						}
						block.Samples.Add(segment.Sample{Ref: uint64(1 + i), Timestamp: at + int64(i/run%7), Value: counters[i]})
					}
					blocks = append(blocks, block)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				scrape()
				b.StartTimer()
				for _, block := range blocks {
					x.ApplyBlock(block)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/series, "ns/sample")
			b.ReportMetric(float64(x.Stats().Bytes)/series, "B/series")
			b.ReportMetric(float64(x.Stats().Samples)/series, "samples/series")
		})
	}
}

func options15() window.Options {
	o := options()
	o.Span = 15 * time.Minute
	return o
}
