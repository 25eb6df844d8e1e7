package history

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/internal/selectiontest"
	"github.com/promgrpc/exporter/server/selection"
)

// sample is one that a log was given, or that was found.
type sample struct {
	t, arrival int64
	text       string
}

// writing is a log that is written, with what is in it.
type writing struct {
	t       testing.TB
	dir     string
	options seglog.Options
	logs    *seglog.Store
	w       *seglog.Writer
	head    *head.Head
	now     int64 // time of the last block
	next    uint64
	live    []uint64                 // refs
	labels  map[uint64]labels.Labels // by ref
	samples map[string][]sample      // by the text of the labels, as they arrived
	sets    map[string]labels.Labels
}

func newWriting(t testing.TB, o seglog.Options) *writing {
	w := &writing{
		t: t, dir: t.TempDir(), options: o, head: head.New(), now: 1_000_000, next: 1,
		labels: map[uint64]labels.Labels{}, samples: map[string][]sample{}, sets: map[string]labels.Labels{},
	}
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *writing) open() {
	var err error
	w.logs, err = seglog.OpenStore(w.dir, w.options)
	require.NoError(w.t, err)
	w.head = head.New()
	w.w, err = w.logs.OpenWriter(w.head)
	require.NoError(w.t, err)
}

func (w *writing) close() {
	require.NoError(w.t, w.w.Close())
	require.NoError(w.t, w.logs.Close())
}

func (w *writing) log() *seglog.Log { return w.w.Log() }

// builder makes a block.
type builder struct {
	w *writing
	b segment.Block
	t []segment.Series
}

func (w *writing) block() *builder {
	return &builder{w: w, b: segment.Block{Sequence: w.log().Last() + 1}}
}

// series makes a new series.
func (b *builder) series(ls labels.Labels) uint64 {
	ref := b.w.next
	b.w.next++
	var row segment.Labels
	ls.Range(func(l labels.Label) { row = append(row, segment.Label{Name: l.Name, Value: l.Value}) })
	b.t = append(b.t, segment.Series{Ref: ref, Labels: row})
	b.w.labels[ref], b.w.sets[ls.String()] = ls, ls
	b.w.live = append(b.w.live, ref)
	return ref
}

func (b *builder) float(ref uint64, t int64, v float64) {
	b.b.Samples.Add(segment.Sample{Ref: ref, Timestamp: t, Value: v})
	b.add(ref, t, fmt.Sprintf("float %x", math.Float64bits(v)))
}

func (b *builder) histogram(ref uint64, t int64, h *histogram.Histogram) {
	wire := prompb.FromIntHistogram(t, h)
	data, err := wire.Marshal()
	require.NoError(b.w.t, err)
	b.b.AddHistogram(ref, t, data)
	b.add(ref, t, textOf(h))
}

func textOf(h *histogram.Histogram) string {
	return fmt.Sprintf("histogram %d %x %s", h.Count, math.Float64bits(h.Sum), h)
}

func (b *builder) add(ref uint64, t int64, text string) {
	set := b.w.labels[ref].String()
	b.w.samples[set] = append(b.w.samples[set], sample{t, chunk.Arrival(t, chunk.Lag(t, b.w.now)), text})
}

// append appends the block.
func (b *builder) append() {
	b.b.Time = b.w.now
	b.b.Series = segment.TableOf(b.t...)
	_, err := b.w.w.Append(&b.b)
	require.NoError(b.w.t, err)
	require.NoError(b.w.t, b.w.w.WaitDurable(b.b.Sequence))
	require.NoError(b.w.t, b.w.head.ApplyBlock(&b.b))
}

// rotate starts a segment without series that were not written lately.
func (w *writing) rotate(idleBefore int64) {
	w.head.Expire(idleBefore, nil)
	require.NoError(w.t, w.w.Rotate())
	w.live = slices.DeleteFunc(w.live, func(ref uint64) bool {
		_, ok := w.head.Latest(ref)
		return !ok
	})
}

// want returns what is expected of a selection, by the text of the labels.
func (w *writing) want(s *selection.Selection, from, to int64) map[string][]sample {
	found := map[string][]sample{}
	for set, samples := range w.samples {
		var ls segment.Labels
		w.sets[set].Range(func(l labels.Label) { ls = append(ls, segment.Label{Name: l.Name, Value: l.Value}) })
		if !s.Matches(ls) {
			continue
		}
		first := map[int64]sample{}
		for _, x := range samples {
			if _, ok := first[x.t]; !ok && x.t >= from && x.t <= to {
				first[x.t] = x
			}
		}
		if len(first) > 0 {
			found[set] = slices.SortedFunc(maps.Values(first), func(a, b sample) int { return cmp.Compare(a.t, b.t) })
		}
	}
	return found
}

// options are those of a store that shares nothing.
func options() Options {
	const memory, turns = 1 << 30, 4
	return Options{
		Bytes: 1 << 30, Memory: limit.NewBudget("--limit.query-bytes", "bytes", memory, memory),
		Decodes: limit.NewBudget("--limit.decodes", "turns", turns, turns),
	}
}

func openStore(t testing.TB, w *writing, o Options) *Store {
	s, err := Open(w.logs, o)
	require.NoError(t, err)
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	require.NoError(t, s.Close())
	require.Zero(t, s.o.Memory.Used())
	require.Zero(t, s.o.Decodes.Used())
}

// found returns what is found of a selection.
func found(t testing.TB, s *Store, log *seglog.Log, sel *selection.Selection, from, to int64) map[string][]sample {
	t.Helper()
	e := selectiontest.Evaluation(context.Background())
	defer e.End()
	got := map[string][]sample{}
	last := labels.EmptyLabels()
	require.NoError(t, s.Select(e, log, sel, from, to, func(series chunk.Series) error {
		require.True(t, len(got) == 0 || labels.Compare(last, series.Labels) < 0, "%s after %s", series.Labels, last)
		last = series.Labels
		if samples := samplesOf(t, series.Chunks, from, to); len(samples) > 0 {
			got[series.Labels.String()] = samples
		}
		return nil
	}))
	return got
}

func samplesOf(t testing.TB, chunks []chunk.Chunk, from, to int64) (samples []sample) {
	it := chunk.NewIterator(chunks, chunk.All)
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		x := sample{t: it.AtT(), arrival: it.Arrival()}
		switch kind {
		case chunkenc.ValFloat:
			_, v := it.At()
			x.text = fmt.Sprintf("float %x", math.Float64bits(v))
		default:
			_, h := it.AtHistogram(nil)
			x.text = textOf(h)
		}
		if x.t >= from && x.t <= to {
			samples = append(samples, x)
		}
	}
	require.NoError(t, it.Err())
	return samples
}

// randomBlock appends a block of anything.
func (w *writing) randomBlock(r *rand.Rand) {
	w.now += r.Int64N(20_000)
	b := w.block()
	for range r.IntN(4) {
		ls := labels.FromStrings("__name__", fmt.Sprintf("m%d", r.IntN(4)), "a", fmt.Sprint(r.IntN(4)), "b", fmt.Sprint(r.IntN(200)))
		if set := ls.String(); w.known(set) {
			continue
		}
		b.series(ls)
	}
	for range r.IntN(30) {
		if len(w.live) == 0 {
			break
		}
		ref := w.live[r.IntN(len(w.live))]
		t := w.now - r.Int64N(3000)
		switch r.IntN(10) {
		case 0:
			t = w.now - r.Int64N(600_000) // late
		case 1:
			t = w.now + r.Int64N(5000) // from the future
		}
		switch r.IntN(8) {
		case 0:
			b.float(ref, t, math.Float64frombits(value.StaleNaN))
		case 1:
			b.histogram(ref, t, tsdbutil.GenerateTestHistogram(r.Int64N(5)))
		default:
			b.float(ref, t, float64(r.IntN(1000))/8)
		}
	}
	b.append()
}

// known says whether there is a live series with these labels.
func (w *writing) known(set string) bool {
	return slices.ContainsFunc(w.live, func(ref uint64) bool { return w.labels[ref].String() == set })
}

// longAfter is when all that is idle is given up.
func (*writing) longAfter() time.Time { return time.Now().Add(2 * idleAfter) }
