package forwarder

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
)

// TestKeyTable does the same to a table and to a map.
func TestKeyTable(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	key := func() remotewrite.Key {
		// Few bits, so that keys meet one another, and their cells too.
		return remotewrite.Key{A: random.Uint64N(64) << 58, B: random.Uint64N(4)<<56 | random.Uint64N(8)}
	}
	var table keyTable
	want := map[remotewrite.Key]uint32{}
	for round := range 200 {
		for range 100 {
			k, slot := key(), 1+random.Uint32N(1000)
			table.put(k, slot)
			want[k] = slot
		}
		if round%3 == 0 {
			limit := random.Uint32N(1000)
			gone := func(slot uint32) bool { return slot < limit }
			table.move(func(slot uint32) uint32 {
				if gone(slot) {
					return 0
				}
				return slot + 1
			})
			for k, slot := range want {
				if want[k] = slot + 1; gone(slot) {
					delete(want, k)
				}
			}
		}
		for range 1000 {
			if k := key(); table.get(k) != want[k] {
				t.Fatalf("%v: slot %d, want %d", k, table.get(k), want[k])
			}
		}
		if table.n != len(want) {
			t.Fatalf("%d keys, want %d", table.n, len(want))
		}
	}
}

// TestKeyTableSize holds a table to the bytes that a key takes, while it grows and after
// most keys have gone.
func TestKeyTableSize(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var table keyTable
	check := func() {
		t.Helper()
		cells := 0
		for i := range table.parts {
			cells += len(table.parts[i].cells)
		}
		if bytes := cells * int(unsafe.Sizeof(keyCell{})); table.n < 20_000 {
			t.Fatalf("%d keys are too few", table.n)
		} else if bytes > 28*table.n {
			t.Errorf("%d keys take %d bytes each", table.n, bytes/table.n)
		}
	}
	for i := range uint32(200_000) {
		table.put(remotewrite.Key{A: random.Uint64(), B: random.Uint64()}, i+1)
		if i%20_000 == 19_999 {
			check()
		}
	}
	table.move(func(slot uint32) uint32 {
		if slot%8 != 0 {
			return 0
		}
		return slot
	})
	check()
}
