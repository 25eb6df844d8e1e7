package history

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/seglog"
	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/internal/selectiontest"
)

const patience = time.Minute

// sizeOnDisk is what is in the folder of the parts, unfinished ones included.
func sizeOnDisk(t *testing.T, s *Store) (n int64) {
	entries, err := os.ReadDir(s.path)
	require.NoError(t, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		n += info.Size()
	}
	return n
}

// The parts never take more than their limit, the ones that were not used for longest go,
// and without any room what is found is the same.
func TestPartsKeepTheirLimit(t *testing.T) {
	w := filled(t, 40)
	for range 4 {
		r := rand.New(rand.NewPCG(7, 7))
		w.rotate(0)
		for range 30 {
			w.randomBlock(r)
		}
	}
	s := openStore(t, w, options())
	requireAll(t, w, s)
	most := sizeOnDisk(t, s)
	require.Equal(t, most, s.bytes)
	closeStore(t, s)
	for _, bytes := range []int64{most - 1, most / 2, most / 10, 1} {
		o := options()
		o.Bytes = units.Base2Bytes(bytes)
		s := openStore(t, w, o)
		require.LessOrEqual(t, sizeOnDisk(t, s), bytes, "what was there before is more than the limit")
		requireAll(t, w, s)
		require.LessOrEqual(t, sizeOnDisk(t, s), bytes)
		require.Equal(t, sizeOnDisk(t, s), s.bytes)
		require.Positive(t, testutil.ToFloat64(s.metrics.unwritten)+testutil.ToFloat64(s.metrics.evicted))
		closeStore(t, s)
	}
}

// The segment that was used last stays.
func TestLeastRecentlyUsedGoes(t *testing.T) {
	w := filled(t, 40)
	w.rotate(0)
	s := openStore(t, w, options())
	requireAll(t, w, s)
	files := partsOf(t, s)
	require.Len(t, files, 2)
	for i, file := range files {
		sp, ok := parseName(filepath.Base(file))
		require.True(t, ok)
		s.entries[key{sp.log, sp.segment}].used = time.UnixMilli(int64(1 - i))
	}
	s.mu.Lock()
	s.o.Bytes = units.Base2Bytes(s.bytes)
	require.NoError(t, s.makeRoom(1))
	s.bytes--
	s.mu.Unlock()
	require.Equal(t, files[:1], partsOf(t, s))
	requireAll(t, w, s)
	closeStore(t, s)
}

// Without memory, a selection is refused by the name of the limit, and nothing is kept.
// With little, more parts are made.
func TestBuildsKeepTheirMemory(t *testing.T) {
	w := filled(t, 300)
	refused := 0
	for memory := int64(64 << 10); ; memory += memory / 16 {
		o := options()
		o.Memory = limit.NewBudget("--limit.query-bytes", "bytes", memory, memory)
		s := openStore(t, w, o)
		e := selectiontest.Evaluation(t.Context())
		err := s.Select(e, w.log(), selections(t)[0], math.MinInt64, math.MaxInt64, func(chunk.Series) error { return nil })
		e.End()
		if err == nil {
			require.Greater(t, testutil.ToFloat64(s.metrics.written), 2.0)
			requireAll(t, w, s)
			closeStore(t, s)
			break
		}
		refused++
		var over *limit.Error
		require.ErrorAs(t, err, &over)
		require.Equal(t, "query-bytes", over.Name)
		closeStore(t, s)
	}
	require.Positive(t, refused)
}

// One build works for all who wait, and ends when the last of them has gone.
func TestBuildsAreShared(t *testing.T) {
	w := filled(t, 40)
	w.rotate(0)
	o := options()
	o.Decodes = limit.NewBudget("--limit.decodes", "turns", 1, 1)
	s := openStore(t, w, o)
	taken := o.Decodes.Hold("another")
	require.NoError(t, taken.Grow(1))
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	selectAll := func(ctx context.Context, check func(assert.TestingT, error)) {
		waiting.Go(func() {
			e := selectiontest.Evaluation(ctx)
			defer e.End()
			check(t, s.Select(e, w.log(), selections(t)[0], math.MinInt64, math.MaxInt64, func(chunk.Series) error { return nil }))
		})
	}
	k := key{w.log().ID(), 1}
	waiters := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		if en := s.entries[k]; en != nil && en.building != nil {
			return en.building.waiters
		}
		return 0
	}
	const n = 5
	for range n {
		selectAll(ctx, func(t assert.TestingT, err error) { assert.ErrorIs(t, err, context.Canceled) })
	}
	require.Eventually(t, func() bool { return waiters() == n }, patience, time.Millisecond)
	cancel()
	waiting.Wait()
	require.Eventually(t, func() bool { return waiters() == 0 && o.Decodes.Waiting() == 0 }, patience, time.Millisecond)
	for range n {
		selectAll(t.Context(), func(t assert.TestingT, err error) { assert.NoError(t, err) })
	}
	require.Eventually(t, func() bool { return waiters() == n }, patience, time.Millisecond)
	taken.Release()
	waiting.Wait()
	require.InDelta(t, 2, testutil.ToFloat64(s.metrics.written), 0, "one for each segment")
	closeStore(t, s)
}

// While blocks are appended, segments are started and retention removes them, what was
// there at the start of a selection is found, but for what is gone.
func TestSelectWhileTheLogGoesOn(t *testing.T) {
	for _, size := range []int64{0, 40 << 10} {
		w := newWriting(t, seglog.Options{Sync: seglog.SyncNever, RetentionSize: size})
		w.randomBlock(rand.New(rand.NewPCG(1, 1)))
		s := openStore(t, w, options())
		s.partBytes = 1 << 20
		log := w.log()
		sel := selections(t)[0]
		var mu sync.Mutex
		var appending, selecting sync.WaitGroup
		done := make(chan struct{})
		appending.Go(func() {
			defer close(done)
			r := rand.New(rand.NewPCG(2, 2))
			for i := range 600 {
				mu.Lock()
				w.randomBlock(r)
				if i%40 == 39 {
					w.rotate(w.now - 1_000_000)
				}
				mu.Unlock()
				if i%100 == 0 {
					s.sweep(w.longAfter())
				}
			}
		})
		for range 3 {
			selecting.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					mu.Lock()
					want := w.want(sel, math.MinInt64, math.MaxInt64)
					mu.Unlock()
					got := found(t, s, log, sel, math.MinInt64, math.MaxInt64)
					if size > 0 {
						continue
					}
					for set, samples := range want {
						have := map[sample]bool{}
						for _, x := range got[set] {
							have[x] = true
						}
						for _, x := range samples {
							if !assert.True(t, have[x], "%s: %+v", set, x) {
								return
							}
						}
					}
				}
			})
		}
		appending.Wait()
		selecting.Wait()
		if size == 0 {
			require.Equal(t, w.want(sel, math.MinInt64, math.MaxInt64), found(t, s, log, sel, math.MinInt64, math.MaxInt64))
		} else {
			require.Greater(t, log.First(), uint64(1), "retention has removed some")
			s.sweep(time.Now())
			for _, file := range partsOf(t, s) {
				sp, _ := parseName(filepath.Base(file))
				require.GreaterOrEqual(t, sp.segment, log.First())
			}
		}
		closeStore(t, s)
	}
}

// Who leaves just when a build is over leaves nothing in memory.
func TestLeavingAfterTheBuild(t *testing.T) {
	w := filled(t, 10)
	s := openStore(t, w, options())
	defer closeStore(t, s)
	s.mu.Lock()
	en := s.entry(key{w.log().ID(), 1})
	p := &stored{hold: s.o.Memory.Hold(holder)}
	require.NoError(t, p.hold.Resize(1))
	en.parts = []*stored{p}
	s.mu.Unlock()
	b := &build{entry: en, cancel: func() {}, done: make(chan struct{}), waiters: 1}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.wait(ctx, b), context.Canceled)
	require.Zero(t, s.o.Memory.Used())
}
