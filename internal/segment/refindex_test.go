package segment

import (
	"math/rand/v2"
	"runtime"
	"testing"
)

// TestRefIndex finds what is there and nothing else, with holes of all sizes, and
// after some were taken back.
func TestRefIndex(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, hole := range []uint64{1, 2, 50, 3000} {
		var x refIndex
		x.reset()
		var refs []uint64
		add := func(n int) {
			next := uint64(1)
			if len(refs) > 0 {
				next = refs[len(refs)-1] + 1
			}
			for range n {
				next += random.Uint64N(hole)
				x.set(next, len(refs))
				refs = append(refs, next)
				next++
			}
		}
		add(5000)
		add(100)
		for _, ref := range refs[4900:] {
			x.remove(ref)
		}
		refs = refs[:4900]
		add(700)
		want := map[uint64]int{}
		for i, ref := range refs {
			want[ref] = i
		}
		for ref := uint64(0); ref < refs[len(refs)-1]+2000; ref++ {
			i, ok := x.get(refs, ref)
			if w, there := want[ref]; ok != there || ok && i != w {
				t.Fatalf("holes up to %d: reference %d has ordinal %d (%v), want %d (%v)", hole, ref, i, ok, w, there)
			}
		}
	}
}

// TestRefIndexOfFew keeps one series in a thousand: an index of those does not take
// what all would.
func TestRefIndexOfFew(t *testing.T) {
	const series, mostEach = 10_000, 128
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var x refIndex
	x.reset()
	for i := range series {
		x.set(uint64(i)<<refPageBits+1, i)
	}
	if each := (int64(heap()) - int64(before)) / series; each > mostEach {
		t.Errorf("%d bytes a series", each)
	}
	runtime.KeepAlive(&x)
}
