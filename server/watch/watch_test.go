package watch

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/logship"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/internal/segment"
	"github.com/promgrpc/exporter/server/internal/selectiontest"
	"github.com/promgrpc/exporter/server/replica"
	"github.com/promgrpc/exporter/server/selection"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fed is a set with one log, and what writes it.
type fed struct {
	t      testing.TB
	writer *seglog.Writer
	head   *head.Head
	rs     *replica.Set
	to     *feeder
}

type feeder struct{ *replica.Feeding }

func (feeder) Interrupt()                     {}
func (feeder) Gap(gap *seglog.GapError) error { return gap }

func newFed(t testing.TB) *fed { return newFedWith(t, seglog.DefaultOptions()) }

func newFedWith(t testing.TB, o seglog.Options) *fed {
	o.Sync, o.RetentionTime, o.Logger = seglog.SyncNever, 0, slog.New(slog.DiscardHandler)
	store, err := seglog.OpenStore(t.TempDir(), o)
	require.NoError(t, err)
	f := &fed{t: t, head: head.New(), to: &feeder{}}
	f.writer, err = store.OpenWriter(f.head)
	require.NoError(t, err)
	copies, err := seglog.OpenStore(t.TempDir(), o)
	require.NoError(t, err)
	f.rs, err = replica.Open(copies, nil, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, f.writer.Close())
		require.NoError(t, store.Close())
		require.NoError(t, f.rs.Close())
		require.NoError(t, copies.Close())
	})
	f.to.Feeding, err = f.rs.Lease(t.Context(), f.writer.Log().ID(), replica.Source{Feeder: f.to})
	require.NoError(t, err)
	f.to.SetTail(0)
	t.Cleanup(f.to.Release)
	return f
}

// write brings a block of samples to the set, in which the series are new that have not
// been written yet.
func (f *fed) write(labels func(ref uint64) segment.Labels, refs ...uint64) uint64 {
	b := &segment.Block{Time: 1}
	var series []segment.Series
	for _, ref := range refs {
		if ref >= f.head.NextRef() {
			series = append(series, segment.Series{Ref: ref, Labels: labels(ref)})
		}
		b.Samples.Add(segment.Sample{Ref: ref, Timestamp: 1, Value: 1})
	}
	b.Series = segment.TableOf(series...)
	var err error
	b.Sequence, err = f.writer.Append(b)
	require.NoError(f.t, err)
	require.NoError(f.t, f.head.ApplyBlock(b))
	require.NoError(f.t, f.writer.WaitDurable(b.Sequence))
	at, _, _ := f.to.Position()
	more := func(after uint64) bool { return after < b.Sequence }
	require.NoError(f.t, logship.Send(f.t.Context(), f.writer.Log(), at, f.to, logship.Options{More: more}))
	return b.Sequence
}

// watch watches what is selected from the present on.
func (f *fed) watch(w *Watches, s *selection.Selection) *Watch {
	r := f.rs.Serving()[0]
	found, err := r.Selected(selectiontest.Evaluation(f.t.Context()), s, MaxSeries)
	require.NoError(f.t, err)
	x := w.Watch(s, []Log{{Replica: r, Read: found.Sequence, Refs: found.Refs, Next: found.Next}})
	require.NotNil(f.t, x)
	<-x.Woken() // as each is at first
	return x
}

// woken says whether a watch was woken.
func (x *Watch) woken() bool {
	select {
	case <-x.wake:
		return true
	default:
		return false
	}
}

func variety(ref uint64) segment.Labels {
	ls := segment.Labels{{Name: "__name__", Value: fmt.Sprintf("m%d", ref%7)}, {Name: "i", Value: fmt.Sprint(ref % 50)}}
	if ref%3 > 0 {
		ls = append(ls, segment.Label{Name: "job", Value: fmt.Sprint(ref % 11)})
	}
	return ls
}

// Each watch is woken by the first block that has any of its series, old or new, by no
// other, and passes over all blocks before it.
func TestWatchesAreWokenByTheirSeries(t *testing.T) {
	f := newFed(t)
	random := rand.New(rand.NewPCG(1, 2))
	var known []uint64
	written := func() (uint64, []uint64) {
		refs := []uint64{}
		for range random.IntN(4) {
			if len(known) > 0 {
				refs = append(refs, known[random.IntN(len(known))])
			}
		}
		for next := f.head.NextRef(); random.IntN(3) == 0; next++ {
			refs, known = append(refs, next), append(known, next)
		}
		return f.write(variety, refs...), refs
	}
	written()

	w := New(f.rs)
	type watching struct {
		*Watch
		selection *selection.Selection
		first     uint64 // block that concerns it, 0: none
	}
	texts := [][]string{{`m1{i="8"}`}, {`{job="3"}`, `m2`}, {`{i="5",job!="2"}`}, {`{job!="1",i="1"}`}, {`{job!~"1|2|3|4|5|6|7|8|9"}`}, {`{i=~"3|4",__name__="m3"}`}, {`none`}}
	var all []*watching
	for _, text := range texts {
		s, err := selectiontest.Parse(text...)
		require.NoError(t, err)
		require.False(t, s.Scans)
		all = append(all, &watching{selection: s})
	}
	for n := range 3000 {
		for i, x := range all {
			if x.Watch == nil || n%(100+i) == 0 {
				old := x.Watch
				x.Watch, x.first = f.watch(w, x.selection), 0
				if old != nil {
					old.Close()
				}
			}
		}
		last, refs := written()
		w.look(w.ended)
		for _, x := range all {
			for _, ref := range refs {
				if x.first == 0 && x.selection.Matches(variety(ref)) {
					x.first = last
					require.True(t, x.woken(), "block %d", last)
				}
			}
			require.False(t, x.woken(), "block %d", last)
			if random.IntN(3) > 0 {
				continue
			}
			want := last
			if x.first != 0 {
				want = x.first - 1
			}
			require.True(t, x.Passed(func(_ int, sequence uint64) { require.Equal(t, want, sequence) }))
			x.first = 0
		}
	}
	for _, x := range all {
		x.Close()
	}
	require.Empty(t, w.logs)
}

// A watch that knows more of a log than was looked at has each series once all the same.
func TestWatchesThatAreAhead(t *testing.T) {
	f := newFed(t)
	f.write(variety, 1)
	log := newWatched(f.rs.Serving()[0])
	last := f.write(variety, 2, 3, 4)
	s, err := selectiontest.Parse(`{i="2"}`, `m3`, `m4`)
	require.NoError(t, err)
	found, err := log.replica.Selected(selectiontest.Evaluation(t.Context()), s, MaxSeries)
	require.NoError(t, err)
	require.Equal(t, &replica.Selected{Refs: []uint64{2, 3, 4}, Next: 5, Sequence: last}, found)

	x := &Watch{selection: s, wake: make(chan struct{}, 1)}
	x.add(log, &Log{Replica: log.replica, Read: last, Refs: found.Refs, Next: found.Next})
	log.look()
	require.Equal(t, 3, x.series)
	require.True(t, x.woken(), "by a block that it has read")
	x.interests[0].leave()
	require.Empty(t, log.pages)
	require.Empty(t, log.byLabel)
}

// A watch that has too many series says so.
func TestWatchesAreOfFewSeries(t *testing.T) {
	f := newFed(t)
	same := func(uint64) segment.Labels { return segment.Labels{{Name: "__name__", Value: "m"}} }
	f.write(same, 1)
	s, err := selectiontest.Parse("m")
	require.NoError(t, err)
	w := New(f.rs)
	x := f.watch(w, s)
	defer x.Close()
	var refs []uint64
	for ref := uint64(2); ref <= MaxSeries; ref++ {
		refs = append(refs, ref)
	}
	f.write(same, refs...)
	w.look(w.ended)
	require.True(t, x.Passed(func(int, uint64) {}))
	f.write(same, MaxSeries+1)
	w.look(w.ended)
	require.False(t, x.Passed(func(int, uint64) {}))
	require.EqualValues(t, (MaxSeries+1)*seriesBytes, x.Bytes())
}

// Blocks that are not in memory any more are read by everyone.
func TestBlocksThatAreNotInMemory(t *testing.T) {
	o := seglog.DefaultOptions()
	o.RingBytes = 500 // has the newest block
	f := newFedWith(t, o)
	f.write(variety, 1, 2, 3)
	w := New(f.rs)
	s, err := selectiontest.Parse(`{i="1"}`)
	require.NoError(t, err)
	x := f.watch(w, s)
	defer x.Close()
	for range 3 {
		first := f.write(variety, 2)
		last := f.write(variety, 3)
		w.look(w.ended)
		require.True(t, x.woken())
		require.True(t, x.Passed(func(_ int, sequence uint64) { require.Equal(t, first-1, sequence) }))
		require.True(t, x.Passed(func(_ int, sequence uint64) { require.Equal(t, last, sequence) }))

		last = f.write(variety, 2)
		w.look(w.ended)
		require.False(t, x.woken(), "for the block of another")
		require.True(t, x.Passed(func(_ int, sequence uint64) { require.Equal(t, last, sequence) }))
		last = f.write(variety, 1)
		w.look(w.ended)
		require.True(t, x.woken())
		require.True(t, x.Passed(func(_ int, sequence uint64) { require.Equal(t, last-1, sequence) }))
	}
}

// Nobody knows who wants a series that came and went before it was looked at.
func TestSeriesThatAreGone(t *testing.T) {
	f := newFed(t)
	f.write(variety, 1)
	w := New(f.rs)
	s, err := selectiontest.Parse(`{i="none"}`)
	require.NoError(t, err)
	x := f.watch(w, s)
	defer x.Close()
	first := f.write(variety, 2)
	w.look(w.ended)
	require.False(t, x.woken())
	f.write(variety, 4) // References that are left out are those of series that are gone.
	w.look(w.ended)
	require.True(t, x.woken())
	require.True(t, x.Passed(func(_ int, sequence uint64) { require.Equal(t, first, sequence) }))
}

// BenchmarkBlock measures what is done for a block of 2,000 samples of 200,000 series by
// the number of watches, each of one series.
func BenchmarkBlock(b *testing.B) {
	const series, samples = 200_000, 2000
	for _, n := range []int{1, 100, 1000, 5000} {
		b.Run(fmt.Sprintf("watches=%d", n), func(b *testing.B) {
			f := newFed(b)
			labels := func(ref uint64) segment.Labels {
				return segment.Labels{{Name: "__name__", Value: "m"}, {Name: "i", Value: fmt.Sprint(ref)}}
			}
			w := New(f.rs)
			var blocks []*segment.Block
			for first := uint64(1); first <= series; first += samples {
				var refs []uint64
				block := &segment.Block{}
				for ref := first; ref < first+samples; ref++ {
					refs = append(refs, ref)
					block.Samples.Add(segment.Sample{Ref: ref, Timestamp: 1, Value: 1})
				}
				f.write(labels, refs...)
				blocks = append(blocks, block)
			}
			for i := range n {
				s, err := selectiontest.Parse(fmt.Sprintf(`m{i="%d"}`, 1+i*(series/n)))
				require.NoError(b, err)
				defer f.watch(w, s).Close()
			}
			log := w.logs[f.rs.Serving()[0]]
			i := 0
			for b.Loop() {
				w.mu.Lock()
				log.concern(blocks[i%len(blocks)])
				w.mu.Unlock()
				i++
			}
		})
	}
}
