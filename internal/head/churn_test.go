package head_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// churn has a head make rounds of new series, of which keep are written in each
// round and the others only once, with a keyframe after each. The keyframes and
// blocks go to the other heads, too.
func churn(t testing.TB, h *head.Head, rounds, each int, keep func(i int) bool, others ...*head.Head) (kept []uint64) {
	t.Helper()
	all := append([]*head.Head{h}, others...)
	for round := range rounds {
		b := &segment.Block{Sequence: h.Sequence() + 1, Time: int64(round + 1)}
		var added []segment.Series
		for _, ref := range kept {
			b.Samples.Add(segment.Sample{Ref: ref, Timestamp: b.Time, Value: float64(ref)})
		}
		for i := range each {
			ref := h.NextRef() + uint64(i)
			added = append(added, series(ref, "__name__", "m", "i", fmt.Sprint(ref)))
			b.Samples.Add(segment.Sample{Ref: ref, Timestamp: b.Time, Value: 1})
			if keep(i) {
				kept = append(kept, ref)
			}
		}
		b.Series = segment.TableOf(added...)
		for _, h := range all {
			if err := h.ApplyBlock(b); err != nil {
				t.Fatal(err)
			}
		}
		// Those of this round go at the end of the next.
		h.Expire(b.Time, nil)
		if err := h.Keyframe(func(k *segment.Keyframe) error {
			for _, other := range others {
				if err := other.ApplyKeyframe(k); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	return kept
}

// TestFewOfAPageAreLeft checks that pages of which few series are left, in whatever
// pattern, hold what a head that never had the others holds.
func TestFewOfAPageAreLeft(t *testing.T) {
	for name, keep := range map[string]func(int) bool{
		"one a page":       func(i int) bool { return i%1024 == 7 },
		"runs":             func(i int) bool { return i%1024 < 20 || i%1024 > 1000 },
		"more than sparse": func(i int) bool { return i%1024 < 100 },
		"at random":        func(int) bool { return rand.N(50) == 0 },
		"all":              func(int) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			h, replica, viewed := head.New(), head.New(), head.New()
			view := viewed.View()
			defer view.Release()
			kept := churn(t, h, 4, 3000, keep, replica, viewed)
			// The kept ones go on, as floats and as what needs the rare columns.
			b := &segment.Block{Sequence: h.Sequence() + 1, Time: 100, Samples: floats(kept, 100, 2)}
			for i, ref := range kept {
				switch i % 5 {
				case 0:
					b.AddHistogram(ref, 101, []byte("h"))
				case 1:
					b.Samples.Add(segment.Sample{Ref: ref, Timestamp: 102, StartTimestamp: 50, Value: 3})
				}
			}
			apply(t, h, b)
			apply(t, replica, b)
			apply(t, viewed, b)
			restored := head.New()
			h.Expire(100, nil)
			if err := h.Keyframe(func(k *segment.Keyframe) error {
				return restored.ApplyKeyframe(k)
			}); err != nil {
				t.Fatal(err)
			}
			if restored.Len() != len(kept) {
				t.Fatalf("%d series, want %d", restored.Len(), len(kept))
			}
			keyframe(t, h, replica)
			keyframe(t, h, viewed)
			for _, other := range []*head.Head{replica, viewed, restored} {
				if diff := cmp.Diff(contentOf(h), contentOf(other)); diff != "" {
					t.Fatal(diff[:min(len(diff), 1000)])
				}
			}
			for _, ref := range []uint64{kept[0] + 1, kept[len(kept)-1] + 1} {
				if _, ok := h.Latest(ref); ok != (name == "all" && ref <= kept[len(kept)-1] || slices.Contains(kept, ref)) {
					t.Errorf("series %d: %v", ref, ok)
				}
			}
			// New series fill the last page.
			more := churn(t, h, 1, 300, func(int) bool { return true })
			for _, ref := range more {
				if _, ok := h.Latest(ref); !ok {
					t.Fatalf("series %d is missing", ref)
				}
			}
		})
	}
}

// dropped counts the series that a head says are gone.
type dropped struct{ n int }

func (d *dropped) SeriesAdded(uint64, []uint32) {}
func (d *dropped) SeriesDropped(uint64)         { d.n++ }
func (d *dropped) Renumbered()                  {}

// TestManyAreDroppedAtOnce checks that a head that told its observer of many series keeps no
// memory for that.
func TestManyAreDroppedAtOnce(t *testing.T) {
	const each, left = 200_000, 200
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	told := new(dropped)
	h := head.NewObserved(told)
	kept := churn(t, h, 1, each, func(i int) bool { return i%(each/left) == 0 })
	last := &segment.Block{Sequence: h.Sequence() + 1, Time: 2, Samples: floats(kept, 2, 1)}
	apply(t, h, last)
	h.Expire(last.Time, nil)
	if err := h.Keyframe(func(*segment.Keyframe) error { return nil }); err != nil {
		t.Fatal(err)
	}
	apply(t, h, &segment.Block{Sequence: h.Sequence() + 1, Time: 3}) // gives up what the keyframe needed
	if h.Len() != left || told.n != each-left {
		t.Fatalf("%d series are left, and the observer was told of %d", h.Len(), told.n)
	}
	// A store of labels starts with a MiB, and a live series may take a KiB.
	if held := heap() - before; held > 1<<20+left<<10 {
		t.Errorf("%d bytes are held for %d series", held, left)
	}
	runtime.KeepAlive(h)
}

// TestMemoryAfterChurn holds a head to less than the KiB that a live series may
// take, after others have come and gone.
func TestMemoryAfterChurn(t *testing.T) {
	const rounds, each, oneIn = 20, 20 * 1024, 256
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	h, replica := head.New(), head.New()
	kept := churn(t, h, rounds, each, func(i int) bool { return i%oneIn == 0 }, replica)
	last := &segment.Block{Sequence: h.Sequence() + 1, Time: rounds + 1, Samples: floats(kept, rounds+1, 1)}
	apply(t, h, last)
	apply(t, replica, last)
	restored := head.New()
	h.Expire(last.Time, nil)
	if err := h.Keyframe(func(k *segment.Keyframe) error {
		if err := replica.ApplyKeyframe(k); err != nil {
			return err
		}
		return restored.ApplyKeyframe(k)
	}); err != nil {
		t.Fatal(err)
	}
	live := h.Len()
	if live != len(kept) || restored.Len() != live || replica.Len() != live {
		t.Fatalf("%d, %d and %d live series, want %d", live, replica.Len(), restored.Len(), len(kept))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	// A store of labels starts with a MiB.
	const heads, constant = 3, 1 << 20
	held := int64(after.HeapAlloc) - int64(before.HeapAlloc) - heads*constant
	t.Logf("%d bytes a live series of %d, %d by its own estimate", held/int64(heads*live), live, h.Bytes()/int64(live))
	if held > int64(heads*live)<<10 {
		t.Errorf("%d heads of %d live series take %d bytes", heads, live, held)
	}
	runtime.KeepAlive([]*head.Head{h, replica, restored})
}
