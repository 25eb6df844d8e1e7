package daemon

import (
	"runtime"
	"testing"
)

// TestHeapFloor allocates less than the floor, and no garbage is collected.
func TestHeapFloor(t *testing.T) {
	ballast := newBallast()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range heapFloor / 2 >> 20 {
		sink = make([]byte, 1<<20)
	}
	runtime.ReadMemStats(&after)
	if n := after.NumGC - before.NumGC; n > 0 {
		t.Errorf("garbage was collected %d times", n)
	}
	runtime.KeepAlive(ballast)
}

var sink []byte
