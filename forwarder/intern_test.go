package forwarder

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
)

// BenchmarkIntern finds known series, in the order of the last time and in one
// that no guess can know.
func BenchmarkIntern(b *testing.B) {
	const series = 100_000
	keys := make([]remotewrite.Key, series)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range keys {
		keys[i] = remotewrite.Key{A: random.Uint64(), B: random.Uint64()}
	}
	in := newIntern()
	for i, key := range keys {
		in.follow(in.add(key, entry{ref: uint64(i + 1)}), key)
	}
	for name, order := range map[string]func(){
		"same order":  func() {},
		"other order": func() { random.Shuffle(series, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] }) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				order()
				b.StartTimer()
				in.reset()
				for _, key := range keys {
					_, ok := in.guess(key.A)
					if !ok {
						_, ok = in.find(key)
					}
					if !ok {
						b.Fatal("a known series was not found")
					}
				}
			}
			b.ReportMetric(series*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mseries/s")
		})
	}
}

// TestInternAfterChurn forgets most of many series again and again. Those that are
// left are found, also by the guess, and take no more than their share of the KiB
// that a live series may take.
func TestInternAfterChurn(t *testing.T) {
	const rounds, each, oneIn = 10, 100_000, 1000
	const most = 256 // bytes a series that is left, of an entry and its keys
	random := rand.New(rand.NewPCG(1, 2))
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	in := newIntern()
	type known struct {
		key, spelt remotewrite.Key
		ref        uint64
	}
	var kept []known
	ref := uint64(0)
	for range rounds {
		dropped := map[uint64]struct{}{}
		in.reset()
		for i := range each {
			ref++
			k := known{remotewrite.Key{A: random.Uint64(), B: random.Uint64()}, remotewrite.Key{A: random.Uint64(), B: random.Uint64()}, ref}
			slot := in.add(k.key, entry{ref: ref})
			in.spell(k.spelt, slot)
			in.follow(slot, k.key)
			if i%oneIn == 0 {
				kept = append(kept, k)
			} else {
				dropped[ref] = struct{}{}
			}
		}
		in.drop(dropped)
	}
	for range 2 { // the second time by the guess
		in.reset()
		for i, k := range kept {
			e, ok := in.guess(k.key.A)
			if !ok {
				e, ok = in.find(k.key)
			}
			if !ok || e.ref != k.ref {
				t.Fatalf("series %d of %d is not found", i, len(kept))
			}
		}
	}
	in.reset()
	for i, k := range kept {
		if e, ok := in.find(k.spelt); !ok || e.ref != k.ref {
			t.Fatalf("series %d of %d is not found by its other spelling", i, len(kept))
		}
	}
	if _, ok := in.guess(kept[0].key.A); ok {
		t.Error("nothing comes after the last")
	}
	held := heap() - before
	t.Logf("%d bytes for each of %d series", held/int64(len(kept)), len(kept))
	// A chunk and a part of the table are never less than they are.
	if constant := chunkEntries*int64(unsafe.Sizeof(entry{})) + 256*leastCells*int64(unsafe.Sizeof(keyCell{})); held > most*int64(len(kept))+constant {
		t.Errorf("%d series take %d bytes", len(kept), held)
	}
	runtime.KeepAlive(in)
	runtime.KeepAlive(kept)
}

// TestEntrySize holds an entry to the bytes that a live series takes: there are millions.
func TestEntrySize(t *testing.T) {
	if size := unsafe.Sizeof(entry{}); size > 48 {
		t.Errorf("an entry takes %d bytes", size)
	}
}

// TestHashOfStart tells starts apart that are near each other, or that differ in few bits.
func TestHashOfStart(t *testing.T) {
	if hash := hashOfStart(0); hash != 0 {
		t.Errorf("the hash of no start is %d", hash)
	}
	const start = 1700000000000
	seen := map[startHash]int64{}
	add := func(start int64) {
		hash := hashOfStart(start)
		if before, ok := seen[hash]; ok && before != start {
			t.Errorf("%d has the hash of %d", start, before)
		}
		seen[hash] = start
	}
	for i := range int64(10_000) {
		add(start + i)
	}
	for bit := range 63 {
		add(start ^ 1<<bit)
	}
}
