package head_test

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

const pinnedSeries = 64 << 10

// filled returns a head of many series, each eighth of which has a histogram, with
// a pod of its own in its labels.
func filled(t *testing.T) *head.Head {
	h := head.New()
	for first := uint64(1); first < pinnedSeries; first += 4096 {
		b := &segment.Block{Sequence: 1 + first/4096, Time: 1}
		var added []segment.Series
		for ref := first; ref < first+4096; ref++ {
			added = append(added, series(ref, "__name__", "m", "pod", fmt.Sprintf("pod-%d-%s", ref, strings.Repeat("x", 100))))
		}
		b.Series = segment.TableOf(added...)
		apply(t, h, b)
	}
	write(t, h, pinnedSeries)
	return h
}

// write gives the series up to a reference a sample each.
func write(t *testing.T, h *head.Head, upTo uint64) {
	b := &segment.Block{Sequence: h.Sequence() + 1, Time: int64(h.Sequence() + 1)}
	for ref := uint64(1); ref <= upTo; ref++ {
		if ref%8 == 0 {
			b.AddHistogram(ref, b.Time, make([]byte, 200))
			continue
		}
		b.Samples.Add(segment.Sample{Ref: ref, Timestamp: b.Time, StartTimestamp: 1, Value: 1})
	}
	apply(t, h, b)
}

func heapBytes() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func near(t *testing.T, what string, said int64, is float64) {
	t.Helper()
	if math.Abs(float64(said)-is) > is/5 {
		t.Errorf("%s: %d bytes are said to be held, %.0f are", what, said, is)
	}
}

// What a view says that it pins is what is free without it.
func TestPinned(t *testing.T) {
	h := filled(t)
	before := heapBytes()
	v := h.View()
	write(t, h, pinnedSeries)
	near(t, "the state before", v.Pinned(), heapBytes()-before)

	all := v.Pinned()
	v.ReleaseBelow(pinnedSeries / 2)
	near(t, "half of it", v.Pinned(), heapBytes()-before)
	if n := v.Pinned(); n > all*3/4 {
		t.Errorf("%d bytes are pinned by half of what pinned %d", n, all)
	}
	if _, ok := v.Latest(pinnedSeries); !ok {
		t.Error("the end of the view is not there")
	}

	// The head drops nearly all of its series, and makes a new store of labels.
	write(t, h, 1000)
	h.Expire(int64(h.Sequence()), nil)
	if err := h.Keyframe(func(*segment.Keyframe) error { return nil }); err != nil {
		t.Fatal(err)
	}
	with := heapBytes()
	said := v.Pinned()
	v.Release()
	if n := v.Pinned(); n != 0 {
		t.Errorf("a view that was released pins %d bytes", n)
	}
	near(t, "the labels before", said, with-heapBytes())
	runtime.KeepAlive(h)
	runtime.KeepAlive(v)
}

// A head knows about how large it is.
func TestBytes(t *testing.T) {
	before := heapBytes()
	h := filled(t)
	near(t, "a head", h.Bytes(), heapBytes()-before)
	runtime.KeepAlive(h)
}
